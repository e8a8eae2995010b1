//! `attach` in the supervisor's process: hands out the container's input and waits for its end. What the container
//! writes is in its log, where the client reads it.

use super::engine::Engine;
use crate::message::rpc::Connection;
use crate::message::{Failure, Response};

/// What is to be said of a container whose terminal is lost.
pub(super) fn hung_up(name: &str, service: &str) -> String {
    format!(
        "{name} runs without its terminal, which was lost when the processes of windlass that held it were killed at \
         once; nothing that it writes is seen until `windlass restart {service}`"
    )
}

impl Engine {
    pub(super) async fn attach(&self, id: &str, connection: &Connection) -> Result<i32, Failure> {
        let failed =
            |error| Failure::caused(format!("cannot attach to container {}", self.project.name_of(id)), &error);
        let input = self.project.input(id).map_err(failed)?;
        let name = self.project.name_of(id);
        if let Some((name, service)) = self.project.hung_up().into_iter().find(|(lost, _)| *lost == name) {
            return Err(Failure::new(hung_up(&name, &service)));
        }
        connection.send(&Response::Attached, input.into_iter().collect());
        tokio::select! {
            exit = self.project.next_exit(id) => Ok(exit.map_or(0, |(code, _)| code)),
            stuck = self.project.end_untold(id) => Err(Failure::caused("nobody tells how the container ended", &stuck)),
            () = connection.closed() => Ok(0),
        }
    }
}
