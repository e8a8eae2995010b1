//! `attach` in the supervisor's process: hands out the container's input and waits for its end. What the container
//! writes is in its log, where the client reads it.

use super::message::{Event, Failure};
use super::serve::Engine;
use crate::supervisor::rpc::Connection;

impl Engine {
    pub(super) async fn attach(&self, id: &str, connection: &Connection) -> Result<i32, Failure> {
        let failed =
            |error| Failure::caused(format!("cannot attach to container {}", self.project.name_of(id)), &error);
        let input = self.project.input(id).map_err(failed)?;
        connection.send(&Event::Attached, input.into_iter().collect());
        tokio::select! {
            exit = self.project.next_exit(id) => Ok(exit.map_or(0, |(code, _)| code)),
            () = connection.closed() => Ok(0),
        }
    }
}
