use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::state::{Paths, ProjectPaths};

struct Echo;

impl Handler for Echo {
    fn handle(&self, request: Value, connection: Connection) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            match request["kind"].as_str() {
                Some("dialogue") => {
                    let next = connection.recv().await.unwrap();
                    connection.send(&json!({"heard": next}), Vec::new());
                }
                Some("flood") => {
                    for number in 0..100_000 {
                        connection.send(&json!({"number": number, "text": "x".repeat(100)}), Vec::new());
                        if number % 1000 == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                }
                Some("pipe") => connection.send(&request, vec![rustix::pipe::pipe().unwrap().0]),
                _ => connection.send(&request, Vec::new()),
            }
        })
    }
}

/// Runs a supervisor's side in a thread while `test` runs; the folder's path is too long for a socket address.
fn with_server(test: impl FnOnce(&ProjectPaths)) {
    let home = tempfile::tempdir().unwrap();
    let deep = home.path().join("d".repeat(120));
    let paths = Paths::from_home(Some(Path::new(&deep))).project("shop");
    std::fs::create_dir_all(paths.run()).unwrap();
    let (ready, wait) = std::sync::mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let served = paths.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let server = Server::bind(&served).unwrap();
            ready.send(()).unwrap();
            tokio::select! {
                () = server.serve(Rc::new(Echo)) => {}
                _ = ended => {}
            }
        });
    });
    wait.recv().unwrap();
    test(&paths);
    drop(end);
    thread.join().unwrap();
}

#[test]
fn descriptors_come_from_the_supervisor_alone() {
    with_server(|paths| {
        let mut client = Client::connect(paths).unwrap();
        let long = "y".repeat(3 * 1024 * 1024);
        client.send(&json!({"kind": "pipe", "text": long})).unwrap();
        let (answer, fds): (Value, _) = client.recv().unwrap().unwrap();
        assert_eq!(answer["text"].as_str().unwrap().len(), long.len());
        assert_eq!(fds.len(), 1);
        assert!(client.recv::<Value>().unwrap().is_none());
        // One that comes from a client ends the conversation, also when it is a pipe.
        let client = Client::connect(paths).unwrap();
        let held = rustix::pipe::pipe().unwrap().1;
        let request = frame::encode(&json!({"kind": "echo"})).unwrap();
        frame::send(client.as_fd(), &request, &[held.as_fd()]).unwrap();
        let mut client = client;
        assert!(client.recv::<Value>().unwrap().is_none(), "it was answered");
    });
}

#[test]
fn a_request_may_be_a_dialogue() {
    with_server(|paths| {
        let mut client = Client::connect(paths).unwrap();
        client.send(&json!({"kind": "dialogue"})).unwrap();
        client.send(&json!("more")).unwrap();
        let (answer, _): (Value, _) = client.recv().unwrap().unwrap();
        assert_eq!(answer, json!({"heard": "more"}));
    });
}

#[test]
fn everything_that_was_sent_arrives_in_order() {
    with_server(|paths| {
        let mut client = Client::connect(paths).unwrap();
        client.send(&json!({"kind": "flood"})).unwrap();
        let mut expected = 0;
        while let Some((message, _)) = client.recv::<Value>().unwrap() {
            assert_eq!(message["number"], expected);
            expected += 1;
        }
        assert_eq!(expected, 100_000);
    });
}

#[test]
fn garbage_and_endless_lengths_end_the_connection_only() {
    with_server(|paths| {
        for garbage in [&b"\xff\xff\xff\xff"[..], b"\x03\x00\x00\x00{{{", b"\x10\x00\x00\x00{"] {
            let folder = File::open(paths.run()).unwrap();
            let path = format!("/proc/self/fd/{}/supervisor.sock", std::os::fd::AsRawFd::as_raw_fd(&folder));
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(garbage).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
        let mut client = Client::connect(paths).unwrap();
        client.send(&json!(1)).unwrap();
        assert_eq!(client.recv::<Value>().unwrap().unwrap().0, json!(1));
    });
}

#[test]
fn without_a_supervisor_one_is_told_so() {
    let home = tempfile::tempdir().unwrap();
    let paths = Paths::from_home(Some(home.path())).project("shop");
    assert!(matches!(Client::connect(&paths), Err(ConnectError::Absent { .. })));
}
