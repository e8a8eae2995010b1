//! `exec` in the supervisor's process: makes the pipes, and hands the client the other ends, or the terminal.

use super::engine::Engine;
use crate::message::rpc::Connection;
use crate::message::{Failure, Response};
use crate::runtime::OtherEnds;
use crate::runtime::spec::ExecSpec;
use crate::supervisor::{self, Streams};

impl Engine {
    pub(super) async fn exec(
        &self,
        container: &str,
        spec: ExecSpec,
        detach: bool,
        connection: &Connection,
    ) -> Result<i32, Failure> {
        let command = spec.args.first().cloned().unwrap_or_default();
        let streams = if detach || spec.tty { Ok(Streams::default()) } else { Streams::piped(true) };
        let Streams { process, ends } =
            streams.map_err(|error| Failure::caused(format!("cannot run `{command}`: no pipe can be made"), &error))?;
        let mut exec = self.project.exec(container, spec, process).await.map_err(|error| {
            let mut failure =
                Failure::caused(format!("cannot run `{command}` in {}", self.project.name_of(container)), &error);
            if let supervisor::SupervisorError::Start(start) = &error {
                failure.exit_code = start.exit_code;
            }
            failure
        })?;
        let ends = exec.terminal.take().map_or(ends, OtherEnds::Terminal);
        connection.send(&Response::ExecStarted { pid: exec.pid }, ends.pack());
        if detach {
            return Ok(0);
        }
        let exit = exec
            .wait()
            .await
            .map_err(|stuck| Failure::caused(format!("nobody tells how `{command}` ended"), &stuck))?;
        Ok(exit.code())
    }
}
