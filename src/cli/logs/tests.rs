//! Logs of a project on disk, read while they are written.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::*;
use crate::cli::ui::prefix::Prefixes;
use crate::cli::ui::style::Palette;
use crate::plan::sample;
use crate::record::Status;
use crate::record::logs::reader::Span;
use crate::runtime::spec::ExitStatus;
use crate::state::record::{Durability, write};
use crate::state::{Paths, ProjectPaths, process};

struct Home {
    _folder: tempfile::TempDir,
    paths: ProjectPaths,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::from_home(Some(folder.path())).project("shop");
        Self { _folder: folder, paths }
    }

    fn container(&self, service: &str, number: u32, status: Status) {
        let made = sample::existing(sample::record(service), number, status);
        let places = self.paths.container(&made.record.id);
        write(&places.record(), &made.record, Durability::Process).unwrap();
        write(&places.state(), &made.state, Durability::Process).unwrap();
    }

    fn log(&self, id: &str, second: i64, stream: &str, text: &str) {
        let time = Timestamp::new(second, 0).unwrap();
        let line = serde_json::json!({"log": text, "stream": stream, "time": time});
        let path = self.paths.container(id).log();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

fn running() -> Status {
    let pid = i32::try_from(std::process::id()).unwrap();
    Status::Running {
        pid,
        start_time: process::start_time(pid).unwrap().unwrap(),
        boot_id: process::boot_id().unwrap(),
        started: Timestamp::UNIX_EPOCH,
        health: None,
        paused: false,
    }
}

fn exited(code: i32) -> Status {
    let epoch = Timestamp::UNIX_EPOCH;
    Status::Exited { exit: ExitStatus::Code(code), started: Some(epoch), finished: epoch }
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn screen(&self, timestamps: bool) -> Screen<'static> {
        let prefixes = Prefixes::new(Palette::plain(), false);
        Screen::new(prefixes, timestamps, Box::new(self.clone()), Box::new(self.clone()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn show(home: &Home, selection: Selection, span: Span, timestamps: bool) -> String {
    let output = Output::default();
    let mut follower = Follower::open(&home.paths, selection, span, false).unwrap();
    follower.drain(&mut output.screen(timestamps)).unwrap();
    output.text()
}

fn shop() -> Home {
    let home = Home::new();
    home.container("web", 1, exited(0));
    home.container("db", 1, exited(0));
    home.log("web1", 2, "stdout", "second\n");
    home.log("web1", 4, "stderr", "fourth, in ");
    home.log("web1", 6, "stdout", "between\n");
    home.log("web1", 7, "stderr", "two parts\n");
    home.log("web1", 9, "stdout", "without an end");
    home.log("db1", 1, "stdout", "first\n");
    home.log("db1", 5, "stdout", "fifth\nand sixth\n");
    home
}

#[test]
fn several_logs_are_one_in_the_order_of_time() {
    insta::assert_snapshot!(show(&shop(), Selection::default(), Span::default(), false), @r"
    db-1   | first
    web-1  | second
    db-1   | fifth
    db-1   | and sixth
    web-1  | between
    web-1  | fourth, in two parts
    web-1  | without an end
    ");
}

#[test]
fn services_replicas_tails_spans_and_timestamps() {
    let home = shop();
    let db = Selection { services: vec!["db".into()], ..Selection::default() };
    let tail = Span { tail: Some(1), ..Span::default() };
    insta::assert_snapshot!(show(&home, db.clone(), tail, true), @r"
    db-1  | 1970-01-01T00:00:05Z fifth
    db-1  | 1970-01-01T00:00:05Z and sixth
    ");
    let until = Span { until: Some(Timestamp::new(3, 0).unwrap()), ..Span::default() };
    assert_eq!(show(&home, db, until, false), "db-1  | first\n");
    let second = Selection { index: Some(2), ..Selection::default() };
    assert_eq!(show(&home, second, Span::default(), false), "");
}

#[test]
fn a_project_without_anything_has_no_logs() {
    assert_eq!(show(&Home::new(), Selection::default(), Span::default(), false), "");
    let home = Home::new();
    let mut follower = Follower::open(&home.paths, Selection::default(), Span::default(), true).unwrap();
    assert!(follower.all_ended());
    assert_eq!(follower.wait(&[], None).unwrap(), Wake::Timeout);
}

#[test]
fn follows_new_lines_new_containers_and_the_end() {
    let home = Home::new();
    home.container("web", 1, running());
    home.container("old", 1, exited(3));
    home.log("web1", 1, "stdout", "before\n");
    let output = Output::default();
    let mut screen = output.screen(false);
    let mut follower = Follower::open(&home.paths, Selection::default(), Span::default(), true).unwrap();
    follower.drain(&mut screen).unwrap();
    assert_eq!(output.text(), "web-1  | before\n");
    let mut until = |text: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !output.text().ends_with(text) {
            assert!(Instant::now() < deadline, "no `{text}` in:\n{}", output.text());
            follower.wait(&[], Some(Duration::from_secs(1))).unwrap();
            follower.drain(&mut screen).unwrap();
        }
        follower.all_ended()
    };
    home.log("web1", 2, "stderr", "more\n");
    assert!(!until("web-1  | more\n"));
    home.container("worker", 12, running());
    home.log("worker12", 3, "stdout", "begins\n");
    assert!(!until("worker-12  | begins\n"));
    home.log("web1", 4, "stdout", "cut of");
    home.container("web", 1, exited(7));
    assert!(!until("web-1      | cut of\nweb-1 exited with code 7\n"));
    home.container("worker", 12, Status::Restarting { exit: ExitStatus::Code(1), finished: Timestamp::UNIX_EPOCH });
    assert!(!until("worker-12 exited with code 1 (restarting)\n"));
    home.container("worker", 12, running());
    home.log("worker12", 5, "stdout", "again\n");
    assert!(!until("worker-12  | again\n"));
    std::fs::remove_dir_all(home.paths.container("worker12").data()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !follower.all_ended() {
        assert!(Instant::now() < deadline);
        follower.wait(&[], Some(Duration::from_secs(1))).unwrap();
        follower.drain(&mut screen).unwrap();
    }
}

#[test]
fn another_descriptor_wakes_too() {
    let home = Home::new();
    home.container("web", 1, running());
    let mut follower = Follower::open(&home.paths, Selection::default(), Span::default(), true).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let other = std::os::fd::AsFd::as_fd(&reader);
    assert_eq!(follower.wait(&[other], None).unwrap(), Wake::Other);
}
