//! Ports, requests, and another machine.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::env::PATIENCE;

/// A port that nobody uses, for TCP and UDP. Below those that the kernel hands out, so that no connection takes it
/// meanwhile, and never the same twice.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + u16::try_from((std::process::id() * 37 + step) % 12_000).unwrap();
        let any = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok() {
            return port;
        }
    }
}

/// Body of a page, or why there is none.
pub fn try_get(address: SocketAddr, path: &str) -> Result<String, String> {
    let limit = Duration::from_secs(5);
    let attempt = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = attempt().map_err(|error| format!("{address}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no HTTP: {answer:?}"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("status {status}: {body}")) }
}

/// Body of a page on loopback, at the first attempt.
#[track_caller]
pub fn get(port: u16, path: &str) -> String {
    try_get(loopback(port), path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// Body of a page on loopback once it is there.
#[track_caller]
pub fn get_eventually(port: u16, path: &str) -> String {
    support::eventually(&format!("{path} on port {port} answers"), PATIENCE, || try_get(loopback(port), path))
}

pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// An address of this machine that is not loopback: the one that a packet to elsewhere would carry.
pub fn host_address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect("192.0.2.1:9").expect("this machine has a default route");
    socket.local_addr().unwrap().ip()
}

/// Another machine: a network namespace behind a veth pair, which knows no route but its own link.
pub struct Outside {
    name: String,
    subnet: u32,
}

impl Outside {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let subnet = (std::process::id() * 7 + number) % 250;
        let outside = Self { name: format!("wlout{}-{number}", std::process::id() % 10_000), subnet };
        let (name, inside) = (&outside.name, format!("{}p", outside.name));
        ip(&["netns", "add", name]);
        ip(&["link", "add", name, "type", "veth", "peer", "name", &inside]);
        ip(&["link", "set", &inside, "netns", name]);
        ip(&["address", "add", &format!("{}/24", outside.host()), "dev", name]);
        ip(&["link", "set", name, "up"]);
        ip(&["-n", name, "address", "add", &format!("{}/24", outside.address()), "dev", &inside]);
        ip(&["-n", name, "link", "set", &inside, "up"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        outside
    }

    /// This machine, seen from there.
    pub fn host(&self) -> String {
        format!("198.18.{}.1", self.subnet)
    }

    pub fn address(&self) -> String {
        format!("198.18.{}.2", self.subnet)
    }

    /// A program that runs there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "pids", &self.name]).output().map(|output| {
            for pid in String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        });
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("these tests need ip: the test script installs it");
    let reason = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {} failed: {reason}", arguments.join(" "));
}
