//! Logs of a project on disk, read while they are written.

use std::io::Write;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::*;
use crate::plan::sample;
use crate::record::Status;
use crate::record::logs::reader::Span;
use crate::record::logs::{LogFile, Rotation, Splitter};
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

fn text(event: &LogEvent) -> Option<String> {
    match event {
        LogEvent::Opened(_) => None,
        LogEvent::Line(LogLine { source, stream, text, .. }) => {
            let mark = if *stream == Stream::Stdout { '|' } else { '!' };
            Some(format!("{} {mark} {text}", source.container))
        }
        LogEvent::Exited { source, exit_code, restarting } => {
            Some(format!("{} ended: {exit_code}{}", source.container, if *restarting { ", restarts" } else { "" }))
        }
    }
}

/// All that is there by now.
fn drain(follower: &mut Follower) -> Vec<LogEvent> {
    std::iter::from_fn(|| follower.next_event().unwrap()).collect()
}

fn read(home: &Home, selection: LogSelection, span: Span) -> Vec<LogEvent> {
    drain(&mut Follower::open(&home.paths, selection, span, false).unwrap())
}

fn texts(events: &[LogEvent]) -> Vec<String> {
    events.iter().filter_map(text).collect()
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
    let events = read(&shop(), LogSelection::default(), Span::default());
    assert_eq!(
        texts(&events),
        [
            "shop-db-1 | first",
            "shop-web-1 | second",
            "shop-db-1 | fifth",
            "shop-db-1 | and sixth",
            "shop-web-1 | between",
            "shop-web-1 ! fourth, in two parts",
            "shop-web-1 | without an end",
        ]
    );
    let of_parts = events.iter().find_map(|event| match event {
        LogEvent::Line(line) if line.stream == Stream::Stderr => Some(line.time.as_second()),
        _ => None,
    });
    assert_eq!(of_parts, Some(4), "the time of a line is that of its beginning");
}

#[test]
fn every_container_is_told_before_its_lines() {
    let opened = |event: &LogEvent| match event {
        LogEvent::Opened(source) => Some((source.project.clone(), source.container.clone(), source.service.clone())),
        _ => None,
    };
    let events = read(&shop(), LogSelection::default(), Span::default());
    let all = ["db", "web"].map(|name| ("shop".to_owned(), format!("shop-{name}-1"), name.to_owned()));
    assert_eq!(events[..2].iter().filter_map(opened).collect::<Vec<_>>(), all);
    assert_eq!(events[2..].iter().filter_map(opened).count(), 0);
}

#[test]
fn services_replicas_tails_and_spans() {
    let home = shop();
    let db = LogSelection { services: vec!["db".into()], ..LogSelection::default() };
    let tail = Span { tail: Some(1), ..Span::default() };
    assert_eq!(texts(&read(&home, db.clone(), tail)), ["shop-db-1 | fifth", "shop-db-1 | and sixth"]);
    let until = Span { until: Some(Timestamp::new(3, 0).unwrap()), ..Span::default() };
    assert_eq!(texts(&read(&home, db, until)), ["shop-db-1 | first"]);
    let second = LogSelection { index: Some(2), ..LogSelection::default() };
    assert_eq!(read(&home, second, Span::default()), []);
}

#[test]
fn a_project_without_anything_has_no_logs() {
    assert_eq!(read(&Home::new(), LogSelection::default(), Span::default()), []);
    let home = Home::new();
    let mut follower = Follower::open(&home.paths, LogSelection::default(), Span::default(), true).unwrap();
    assert!(follower.all_ended());
    assert_eq!(follower.wait(&[], None).unwrap(), Waited::Timeout);
}

/// Follows until the last thing that was yielded is this; all that was yielded meanwhile.
fn follow_until(follower: &mut Follower, last: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = texts(&drain(follower));
    while seen.last().is_none_or(|seen| seen != last) {
        assert!(Instant::now() < deadline, "no `{last}` in {seen:?}");
        follower.wait(&[], Some(Duration::from_secs(1))).unwrap();
        seen.extend(texts(&drain(follower)));
    }
    seen
}

#[test]
fn follows_new_lines_new_containers_and_the_end() {
    let home = Home::new();
    home.container("web", 1, running());
    home.container("old", 1, exited(3));
    home.log("web1", 1, "stdout", "before\n");
    let mut follower = Follower::open(&home.paths, LogSelection::default(), Span::default(), true).unwrap();
    assert_eq!(texts(&drain(&mut follower)), ["shop-web-1 | before"]);
    assert_eq!(drain(&mut follower), []);
    let mut until = |last: &[&str]| {
        assert_eq!(follow_until(&mut follower, last.last().unwrap()), last);
        follower.all_ended()
    };
    home.log("web1", 2, "stderr", "more\n");
    assert!(!until(&["shop-web-1 ! more"]));
    home.container("worker", 12, running());
    home.log("worker12", 3, "stdout", "begins\n");
    assert!(!until(&["shop-worker-12 | begins"]));
    home.log("web1", 4, "stdout", "cut of");
    home.container("web", 1, exited(7));
    assert!(!until(&["shop-web-1 | cut of", "shop-web-1 ended: 7"]));
    home.container("worker", 12, Status::Restarting { exit: ExitStatus::Code(1), finished: Timestamp::UNIX_EPOCH });
    assert!(!until(&["shop-worker-12 ended: 1, restarts"]));
    home.container("worker", 12, running());
    home.log("worker12", 5, "stdout", "again\n");
    assert!(!until(&["shop-worker-12 | again"]));
    std::fs::remove_dir_all(home.paths.container("worker12").data()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !follower.all_ended() {
        assert!(Instant::now() < deadline);
        follower.wait(&[], Some(Duration::from_secs(1))).unwrap();
        drain(&mut follower);
    }
}

#[test]
fn nothing_is_lost_or_repeated_over_rotations_and_damaged_records() {
    let home = Home::new();
    home.container("web", 1, running());
    let path = home.paths.container("web1").log();
    let mut log = LogFile::open(&path, Rotation { max_size: Some(2000), max_files: 1000 }).unwrap();
    let mut follower = Follower::open(&home.paths, LogSelection::default(), Span::default(), true).unwrap();
    let mut splitter = Splitter::new(Stream::Stdout);
    let mut seen = Vec::new();
    for number in 0..500 {
        let mut record = Vec::new();
        splitter.push(format!("line {number}\n").as_bytes(), Timestamp::new(number, 0).unwrap(), &mut record);
        log.append(&record);
        if number % 7 == 0 {
            log.append(b"{\"log\":\"torn by a cr\n");
        }
        // More than one rotation may lie between two looks.
        if number % 97 == 0 {
            follower.wait(&[], Some(Duration::from_secs(20))).unwrap();
            seen.extend(texts(&drain(&mut follower)));
        }
    }
    if seen.len() < 500 {
        seen.extend(follow_until(&mut follower, "shop-web-1 | line 499"));
    }
    assert!(std::fs::read_dir(home.paths.container("web1").data()).unwrap().count() > 10, "it was rotated");
    assert_eq!(seen, (0..500).map(|number| format!("shop-web-1 | line {number}")).collect::<Vec<_>>());
}

#[test]
fn a_log_is_read_no_faster_than_its_lines_are_taken() {
    let home = Home::new();
    home.container("web", 1, running());
    for second in 0..3 {
        home.log("web1", second, "stdout", &format!("{}\n", "line\n".repeat(2000)));
    }
    let mut follower = Follower::open(&home.paths, LogSelection::default(), Span::default(), true).unwrap();
    let mut lines = 0;
    while let Some(event) = follower.next_event().unwrap() {
        lines += usize::from(matches!(event, LogEvent::Line(_)));
        assert!(follower.held() <= 1, "{} after {lines} lines", follower.held());
    }
    assert_eq!(lines, 3 * 2001);
}

#[test]
fn another_descriptor_wakes_too() {
    let home = Home::new();
    home.container("web", 1, running());
    let mut follower = Follower::open(&home.paths, LogSelection::default(), Span::default(), true).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let other = std::os::fd::AsFd::as_fd(&reader);
    assert_eq!(follower.wait(&[other], None).unwrap(), Waited::Other);
}
