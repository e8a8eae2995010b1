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

/// What one system call moves at most.
const PIPE: usize = 256 * 1024;

/// A container on this machine answers at once or not at all.
const CONNECT: Duration = Duration::from_secs(10);

/// A pause after an error that would otherwise repeat at once (no descriptors left).
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts until the task is aborted. The target may change at any time; connections that exist stay where they are.
pub async fn serve(listener: TcpListener, target: watch::Receiver<Option<IpAddr>>, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let target = *target.borrow();
                    connections.spawn(carry(client, target.map(|address| SocketAddr::new(address, port))));
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

async fn carry(client: TcpStream, target: Option<SocketAddr>) {
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
    let both = async { tokio::try_join!(pump(&client, &server), pump(&server, &client)) };
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
async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    // Only makes it faster.
    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE as i32));
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
