//! Bytes through the network: container to container, and from the host through a published port.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::table::Table;
use crate::tools::Tools;

const BYTES: u64 = 4 << 30;

const SERVER: &str = "import socket
s = socket.create_server(('', 5000))
while True:
    c, _ = s.accept()
    b = bytearray(1 << 20)
    while c.recv_into(b): pass
    c.sendall(b'!')
    c.close()
";

const CLIENT: &str = "import socket, time
c = socket.create_connection(('server', 5000)); b = bytes(1 << 20); t = time.monotonic()
for _ in range(4096): c.sendall(b)
c.shutdown(socket.SHUT_WR); c.recv(1)
print(time.monotonic() - t)
";

pub fn measure(tools: &Tools, table: &mut Table) -> Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let image = tools.image("python:3.13");
    let text = serde_json::json!({"services": {
        "server": {"image": image, "init": true, "command": ["python3", "-c", SERVER], "ports": [format!("127.0.0.1:{port}:5000")]},
        "client": {"image": image, "init": true, "command": ["sleep", "1000"]},
    }});
    tools.project("throughput", &text.to_string())?;
    let mut between = [const { Vec::new() }; 2];
    let mut published = [const { Vec::new() }; 2];
    for _ in 0..3 {
        for (which, tool) in tools.both().into_iter().enumerate() {
            tool.time("throughput", &["up", "-d"])?;
            let connection = connect(port)?;
            published[which].push(send(connection)?);
            let output = tool.compose("throughput", &["exec", "-T", "client", "python3", "-c", CLIENT]).output()?;
            let said = format!("{}: {}", tool.name, String::from_utf8_lossy(&output.stderr));
            let seconds: f64 = String::from_utf8(output.stdout)?.trim().parse().context(said)?;
            between[which].push(BYTES as f64 / seconds / 1e9);
            tool.time("throughput", &["down", "-t", "0"])?;
        }
    }
    let [ours, theirs] = between.map(crate::table::median);
    table.rate("TCP, container to container", "GB/s", ours, Some(theirs));
    let [ours, theirs] = published.map(crate::table::median);
    table.rate("TCP, host to published port", "GB/s", ours, Some(theirs));
    Ok(())
}

/// Waits until the server answers: a proxy may accept before it listens.
fn connect(port: u16) -> Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answered = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| {
            stream.shutdown(std::net::Shutdown::Write)?;
            std::io::Read::read_exact(&mut &stream, &mut [0])
        });
        match answered {
            Ok(()) => return Ok(TcpStream::connect(("127.0.0.1", port))?),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// GB/s.
fn send(mut stream: TcpStream) -> Result<f64> {
    let buffer = vec![0; 1 << 20];
    let started = Instant::now();
    for _ in 0..BYTES >> 20 {
        stream.write_all(&buffer)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    std::io::Read::read_exact(&mut stream, &mut [0])?;
    Ok(BYTES as f64 / started.elapsed().as_secs_f64() / 1e9)
}
