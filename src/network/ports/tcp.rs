//! Carries TCP connections from a published port to the container, without copying them through this process.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::network::budget::{Share, Taken};

/// What one system call moves at most.
const PIPE: usize = 256 * 1024;

/// A container on this machine answers at once or not at all.
const CONNECT: Duration = Duration::from_secs(10);

/// A pause after an error that would otherwise repeat at once (no descriptors left).
const PAUSE: Duration = Duration::from_millis(100);

/// What a connection holds: two sockets, and the two ends of a pipe for each direction.
const DESCRIPTORS: u32 = 6;

/// Those of the connections of one port; more wait in the kernel's queue until one of these has ended.
pub(super) const MAX_DESCRIPTORS: usize = 4096 * DESCRIPTORS as usize;

/// With more connections than this at once a pipe stays as small as it comes.
const FEW: usize = 256;

/// Accepts until the task is aborted. The target may change at any time; connections that exist stay where they are.
pub(super) async fn serve(listener: TcpListener, target: watch::Receiver<Option<IpAddr>>, port: u16, share: Share) {
    let mut connections = JoinSet::new();
    let mut room: Option<Taken> = None;
    loop {
        tokio::select! {
            // Not accepted before there is room: the kernel lets the client wait.
            taken = share.take(DESCRIPTORS), if room.is_none() => {
                room = taken;
                if room.is_none() {
                    return;
                }
            }
            accepted = listener.accept(), if room.is_some() => match accepted {
                Ok((client, _)) => {
                    let target = target.borrow().map(|address| SocketAddr::new(address, port));
                    let (taken, size) = (room.take(), (connections.len() < FEW).then_some(PIPE));
                    connections.spawn(async move {
                        carry(client, target, size).await;
                        drop(taken);
                    });
                }
                Err(error) => {
                    tracing::debug!("cannot accept a connection: {error}");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: TcpStream, target: Option<SocketAddr>, size: Option<usize>) {
    let Some(target) = target else { return refuse(&client) };
    let server = match timeout(CONNECT, TcpStream::connect(target)).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => {
            tracing::debug!("{target} does not answer: {error}");
            return refuse(&client);
        }
        Err(_) => return refuse(&client),
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let both = async { tokio::try_join!(pump(&client, &server, size), pump(&server, &client, size)) };
    if both.await.is_err() {
        // The other side shall see a broken connection as broken.
        refuse(&client);
        refuse(&server);
    }
}

/// Makes the close that follows a reset.
fn refuse(stream: &TcpStream) {
    let _ = nix::sys::socket::setsockopt(
        stream,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    );
}

/// Moves bytes in one direction until the end of the stream, which it passes on.
async fn pump(from: &TcpStream, to: &TcpStream, size: Option<usize>) -> io::Result<()> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    // Only makes it faster.
    if let Some(size) = size {
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(size as i32));
    }
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        // The pipe is empty here, so that "would block" can only mean the socket.
        let mut left = from.async_io(Interest::READABLE, || Ok(splice(from, None, &write, None, PIPE, flags)?)).await?;
        if left == 0 {
            // The peer may have closed already.
            let _ = shutdown(to.as_raw_fd(), Shutdown::Write);
            return Ok(());
        }
        while left > 0 {
            left -= to.async_io(Interest::WRITABLE, || Ok(splice(&read, None, to, None, left, flags)?)).await?;
        }
    }
}
