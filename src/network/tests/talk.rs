//! Programs that talk to each other, and where they run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a connection is possible and carries bytes both ways.
fn talks_within(namespace: BorrowedFd<'_>, to: SocketAddr, time: Duration) -> bool {
    inside(namespace, || {
        let Ok(mut stream) = TcpStream::connect_timeout(&to, time) else { return false };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).is_ok() && &back == b"HELLO"
    })
}

/// The first attempt gets through, however long a busy machine takes for it.
pub(super) fn talks(namespace: BorrowedFd<'_>, to: SocketAddr) -> bool {
    talks_within(namespace, to, PATIENCE)
}

/// Nothing gets through. What is dropped gives no answer: this is how long one is waited for.
pub(super) fn is_kept_from(namespace: BorrowedFd<'_>, to: SocketAddr) -> bool {
    !talks_within(namespace, to, Duration::from_millis(500))
}

/// The same as [`talks`], once the kernel has noticed that a cable was plugged in.
pub(super) fn talks_soon(namespace: BorrowedFd<'_>, to: SocketAddr) -> bool {
    (0..20).any(|_| talks_within(namespace, to, Duration::from_secs(2)))
}

/// Answers every connection in capitals until the process ends. Returns at once, listening.
pub(super) fn shout(namespace: BorrowedFd<'_>, port: u16) {
    let listener = inside(namespace, || TcpListener::bind(("0.0.0.0", port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 5];
            if stream.read_exact(&mut buffer).is_ok() {
                buffer.make_ascii_uppercase();
                let _ = stream.write_all(&buffer);
            }
        }
    });
}

/// Keeps what `start` returns alive in a runtime of its own, in this namespace, until the result is dropped.
pub(super) fn serve<T>(start: impl FnOnce() -> T + Send + 'static) -> tokio::sync::oneshot::Sender<()> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _served = start();
            ready.send(()).unwrap();
            let _ = stopped.await;
        });
    });
    is_ready.recv().unwrap();
    stop
}

pub(super) fn here() -> OwnedFd {
    netns::current().unwrap()
}
