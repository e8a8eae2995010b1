//! What lines look like.

use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::*;
use crate::cli::ui::prefix::Prefixes;
use crate::cli::ui::style::Palette;
use crate::engine::logs::{LogEvent, LogLine, LogSource, Stream};

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
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn source(service: &str, number: u32, place: Option<usize>) -> Rc<LogSource> {
    let container = format!("shop-{service}-{number}");
    Rc::new(LogSource { project: "shop".into(), container, service: service.into(), place })
}

fn line(source: &Rc<LogSource>, stream: Stream, text: &str) -> LogEvent {
    let time = Timestamp::new(5, 0).unwrap();
    LogEvent::Line(LogLine { source: Rc::clone(source), stream, time, text: text.into() })
}

fn events() -> Vec<LogEvent> {
    let (web, worker) = (source("web", 1, Some(1)), source("worker", 12, Some(2)));
    vec![
        LogEvent::Opened(Rc::clone(&web)),
        line(&web, Stream::Stdout, "one"),
        LogEvent::Opened(Rc::clone(&worker)),
        line(&web, Stream::Stderr, "two"),
        line(&worker, Stream::Stdout, ""),
        LogEvent::Exited { source: worker, exit_code: 7, restarting: true },
        LogEvent::Exited { source: web, exit_code: 0, restarting: false },
    ]
}

fn show(mut screen: Screen<'_>, events: &[LogEvent]) {
    events.iter().try_for_each(|event| screen.show(event)).unwrap();
    screen.flush().unwrap();
}

fn plain(timestamps: bool) -> String {
    let output = Output::default();
    let prefixes = Prefixes::new(Palette::plain(), false);
    show(Screen::joined(prefixes, timestamps, Box::new(output.clone())), &events());
    output.text()
}

#[test]
fn prefixes_grow_with_the_names_and_ends_are_told() {
    insta::assert_snapshot!(plain(false), @r"
    web-1  | one
    web-1      | two
    worker-12  | 
    worker-12 exited with code 7 (restarting)
    web-1 exited with code 0
    ");
}

#[test]
fn timestamps_come_after_the_prefix() {
    insta::assert_snapshot!(plain(true), @r"
    web-1  | 1970-01-01T00:00:05Z one
    web-1      | 1970-01-01T00:00:05Z two
    worker-12  | 1970-01-01T00:00:05Z 
    worker-12 exited with code 7 (restarting)
    web-1 exited with code 0
    ");
}

#[test]
fn streams_are_split_when_they_are_to_be() {
    let (stdout, stderr) = (Output::default(), Output::default());
    let prefixes = Prefixes::new(Palette::plain(), true);
    show(Screen::new(prefixes, false, Box::new(stdout.clone()), Box::new(stderr.clone())), &events());
    let remarks = "worker-12 exited with code 7 (restarting)\nweb-1 exited with code 0\n";
    assert_eq!((stdout.text(), stderr.text()), (format!("one\n\n{remarks}"), "two\n".to_owned()));
}

#[test]
fn a_service_has_the_colour_of_its_place_or_of_its_name() {
    let coloured = |place| {
        let output = Output::default();
        let events = [line(&source("web", 1, place), Stream::Stdout, "")];
        show(Screen::joined(Prefixes::new(Palette::coloured(), false), false, Box::new(output.clone())), &events);
        output.text()
    };
    assert_ne!(coloured(Some(1)), coloured(Some(2)));
    assert_eq!(coloured(None), coloured(None));
}

#[test]
fn what_a_hook_wrote_is_told_apart() {
    let output = Output::default();
    let mut screen = Screen::joined(Prefixes::new(Palette::plain(), false), false, Box::new(output.clone()));
    screen.hook("web-1", 0, &["ready".to_owned(), "steady".to_owned()]).unwrap();
    assert_eq!(output.text(), "web-1 ->  | ready\nweb-1 ->  | steady\n");
}
