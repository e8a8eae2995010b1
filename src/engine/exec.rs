//! `exec` in the supervisor's process: the process gets the client's own descriptors, the client the terminal.

use std::os::fd::OwnedFd;

use super::message::{Event, Failure};
use super::serve::Engine;
use crate::runtime::spec::ExecSpec;
use crate::supervisor;
use crate::supervisor::rpc::Connection;

impl Engine {
    pub(super) async fn exec(
        &self,
        container: &str,
        spec: ExecSpec,
        detach: bool,
        descriptors: Vec<OwnedFd>,
        connection: &Connection,
    ) -> Result<i32, Failure> {
        let command = spec.args.first().cloned().unwrap_or_default();
        let mut exec = self.project.exec(container, spec, descriptors).await.map_err(|error| {
            let mut failure =
                Failure::caused(format!("cannot run `{command}` in {}", self.project.name_of(container)), &error);
            if let supervisor::SupervisorError::Start(start) = &error {
                failure.exit_code = start.exit_code;
            }
            failure
        })?;
        let terminal = exec.terminal.take();
        connection.send(&Event::ExecStarted { pid: exec.pid }, terminal.into_iter().collect());
        if detach {
            return Ok(0);
        }
        Ok(exec.wait().await.code())
    }
}
