//! Two hundred edits of a project in Flask and of one in Express under `watch`: each is seen in the next response.

use std::fs;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, TestEnv};
use crate::examples::{node_project, python_project};
use crate::net::{get_eventually, loopback, try_get};

const EDITS: usize = 200;

/// Saves `file` with another note again and again; each is waited for through HTTP. Tells the median time of both steps.
fn edit(env: &TestEnv, port: u16, file: &str, note: &str) {
    let mut watch = env.start(&["watch", "--format", "json"]);
    watch.wait_for("\"enabled\"");
    get_eventually(port, "/");
    let program = fs::read_to_string(env.folder().join(file)).unwrap();
    assert!(program.contains(note), "{program}");
    let mut times = Vec::with_capacity(EDITS);
    for number in 0..EDITS {
        let wanted = format!("edit {number}.");
        let saved = Instant::now();
        env.file(file, &program.replace(note, &wanted));
        support::eventually(&format!("{wanted:?} is served"), PATIENCE, || {
            let page = try_get(loopback(port), "/")?;
            if page.contains(&wanted) { Ok(()) } else { Err(page) }
        });
        times.push(saved.elapsed());
    }
    times.sort();
    eprintln!(
        "{file}: {EDITS} edits, from save to response {:?} (median), {:?} (95 %)",
        times[EDITS / 2],
        times[EDITS * 95 / 100]
    );
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.finish(PATIENCE).code, 130);
    env.down();
}

#[test]
fn of_a_flask_project() {
    let (env, port, _) = python_project("edits-python");
    edit(&env, port, "app.py", "A note from Flask.");
}

#[test]
fn of_an_express_project() {
    let (env, port, _server) = node_project("edits-node");
    edit(&env, port, "server.js", "A note from Express.");
}
