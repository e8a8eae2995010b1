//! A reservation at work.

use std::io;
use std::net::IpAddr;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Reservation, Socket, tcp, udp};
use crate::network::Budget;

/// Serves a published port until it is dropped. The reservation stays with its owner.
#[derive(Debug)]
pub struct Proxy {
    task: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts to serve; `target` is the container's address, `None` while it has none (connections are reset then).
    /// What clients make us hold is taken out of the `budget`; when it is used up they wait.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be duplicated or registered.
    pub fn start(
        reservation: &Reservation,
        target: watch::Receiver<Option<IpAddr>>,
        budget: &Budget,
    ) -> io::Result<Self> {
        let port = reservation.port.target;
        let task = match &reservation.socket {
            Socket::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
                Some(tokio::spawn(tcp::serve(listener, target, port, budget.share(tcp::MAX_DESCRIPTORS))))
            }
            Socket::Udp(socket) => {
                let socket = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
                Some(tokio::spawn(udp::serve(socket, target, port, budget.share(udp::MAX_SESSIONS))))
            }
            Socket::Other(_) => None,
        };
        Ok(Self { task })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
