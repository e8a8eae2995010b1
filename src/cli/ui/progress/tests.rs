//! Frames on a small terminal of our own, plain lines, JSON lines.

use std::io;
use std::sync::{Arc, Mutex};

use super::*;

/// Understands what the block writes, and nothing else. Lines wrap at its width.
struct Terminal {
    columns: usize,
    rows: Vec<String>,
    row: usize,
    column: usize,
}

impl Terminal {
    fn new(columns: usize) -> Self {
        Self { columns, rows: vec![String::new()], row: 0, column: 0 }
    }

    fn write(&mut self, text: &str) {
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let number = sequence[..end].parse().unwrap_or(0);
                match &sequence[end..=end] {
                    "A" => self.row -= number,
                    "K" => self.cut(),
                    "J" => {
                        self.cut();
                        self.rows.truncate(self.row + 1);
                    }
                    "m" => {}
                    other => panic!("unknown sequence {other}"),
                }
                rest = &sequence[end + 1..];
                continue;
            }
            match character {
                '\r' => self.column = 0,
                '\n' => self.down(),
                character => {
                    if self.column == self.columns {
                        self.column = 0;
                        self.down();
                    }
                    let mut row: Vec<char> = self.rows[self.row].chars().collect();
                    row.resize(row.len().max(self.column + 1), ' ');
                    row[self.column] = character;
                    self.rows[self.row] = row.into_iter().collect();
                    self.column += 1;
                }
            }
            rest = &rest[character.len_utf8()..];
        }
    }

    fn cut(&mut self) {
        self.rows[self.row] = self.rows[self.row].chars().take(self.column).collect();
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(String::new());
        }
    }

    /// What a terminal does with what it shows when it gets narrower.
    fn resize(&mut self, columns: usize) {
        let mut rows = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            if index == self.row {
                self.row = rows.len();
            }
            let characters: Vec<char> = row.chars().collect();
            let parts: Vec<String> = characters.chunks(columns).map(|part| part.iter().collect()).collect();
            rows.extend(if parts.is_empty() { vec![String::new()] } else { parts });
        }
        (self.columns, self.rows) = (columns, rows);
    }

    fn screen(&self) -> String {
        self.rows.iter().map(|row| row.trim_end()).collect::<Vec<_>>().join("\n")
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn stack() -> Board {
    let mut board = Board::new("up");
    let mut at = |time: f64, event: ProgressEvent| {
        board.apply(&event, seconds(time));
    };
    at(0.0, ProgressEvent::new("Image redis:7", "Pulling", State::Working));
    at(0.1, ProgressEvent::new("aaa", "Downloading", State::Working).of("Image redis:7").bytes(1, 30_000_000));
    at(0.1, ProgressEvent::new("bbb", "Pull complete", State::Done).of("Image redis:7").bytes(1_200_000, 1_200_000));
    at(2.0, ProgressEvent::new("aaa", "Downloading", State::Working).of("Image redis:7").bytes(12_000_000, 30_000_000));
    at(0.2, ProgressEvent::new("Network shop_default", "Created", State::Done));
    at(0.3, ProgressEvent::new("Container shop-db-1", "Starting", State::Working));
    at(
        0.5,
        ProgressEvent::new("Container shop-db-1", "Waiting", State::Working)
            .detail("for a healthy answer (2 of 30 tries)"),
    );
    at(0.4, ProgressEvent::new("Container shop-a-very-long-service-name-worker-1", "Started", State::Done));
    at(0.4, ProgressEvent::new("Container shop-web-1", "Error", State::Error).detail("port 8080 is taken"));
    board
}

fn draw(block: &mut Block, terminal: &mut Terminal, board: &Board, rows: usize, now: f64) {
    let lines = board.lines(terminal.columns, rows, seconds(now), Palette::plain());
    terminal.write(&block.frame(None, &lines, terminal.columns));
}

#[test]
fn a_wide_block() {
    let (mut block, mut terminal) = (Block::default(), Terminal::new(100));
    draw(&mut block, &mut terminal, &stack(), 24, 3.0);
    insta::assert_snapshot!(terminal.screen(), @r"
    [+] up 2/5
     ⠧ Image redis:7                                    Pulling [⣄⣿] 13.2MB / 31.2MB 4.14MB/s      3.0s
     ✔ Network shop_default                             Created                                    0.0s
     ⠧ Container shop-db-1                              for a healthy answer (2 of 30 tries)       2.5s
     ✔ Container shop-a-very-long-service-name-worker-1 Started                                    0.0s
     ✘ Container shop-web-1                             Error   port 8080 is taken                 0.0s
    ");
}

#[test]
fn forty_columns_do_not_wrap() {
    let (mut block, mut terminal) = (Block::default(), Terminal::new(40));
    draw(&mut block, &mut terminal, &stack(), 24, 3.0);
    insta::assert_snapshot!(terminal.screen(), @r"
    [+] up 2/5
     ⠧ redis:7               42%       3.0s
     ✔ shop_default          Created   0.0s
     ⠧ shop-db-1             Waiting   2.5s
     ✔ shop-a-ver…e-worker-1 Started   0.0s
     ✘ shop-web-1            Error     0.0s
    ");
    for columns in 0..120 {
        for line in stack().lines(columns, 24, seconds(75.0), Palette::coloured()) {
            assert!(line.width <= columns, "{columns}: {line:?}");
        }
    }
}

#[test]
fn a_short_terminal_shows_what_matters() {
    let (mut block, mut terminal) = (Block::default(), Terminal::new(80));
    draw(&mut block, &mut terminal, &stack(), 5, 3.0);
    insta::assert_snapshot!(terminal.screen(), @r"
    [+] up 2/5
     ⠧ Image redis:7        Pulling [⣄⣿] 13.2MB / 31.2MB 4.14MB/s              3.0s
     ⠧ Container shop-db-1  Waiting for a healthy answer (2 of 30 tries)       2.5s
     ✘ Container shop-web-1 Error   port 8080 is taken                         0.0s
     … 2 more
    ");
}

#[test]
fn frames_replace_each_other_through_notes_and_resizes() {
    let (mut block, mut terminal) = (Block::default(), Terminal::new(80));
    let mut board = stack();
    terminal.write("$ windlass up\r\n");
    draw(&mut block, &mut terminal, &board, 24, 3.0);
    draw(&mut block, &mut terminal, &board, 24, 3.1);
    terminal.resize(30);
    draw(&mut block, &mut terminal, &board, 24, 3.2);
    terminal.resize(60);
    let lines = board.lines(60, 24, seconds(3.3), Palette::plain());
    terminal.write(&block.frame(Some("a note that stays"), &lines, 60));
    board.apply(&ProgressEvent::new("Container shop-db-1", "Healthy", State::Done), seconds(4.0));
    board.apply(&ProgressEvent::new("Image redis:7", "Pulled", State::Done), seconds(4.0));
    // Fewer rows than before: nothing of the last frame may stay below.
    draw(&mut block, &mut terminal, &board, 4, 4.0);
    insta::assert_snapshot!(terminal.screen(), @r"
    $ windlass up
    a note that stays
    [+] up 4/5
     ✔ Image redis:7        Pulled 31.2MB                  4.0s
     ✘ Container shop-web-1 Error  port 8080 is taken      0.0s
     … 3 more
    ");
}

#[test]
fn what_is_expected_has_its_place_and_is_done_when_it_runs() {
    let mut board = Board::new("up");
    let mut at = |time: f64, event: ProgressEvent| {
        board.apply(&event, seconds(time));
    };
    at(0.0, ProgressEvent::new("Image redis:7", "Pulling", State::Working));
    at(2.0, ProgressEvent::new("Image redis:7", "Pulled", State::Done));
    board.expect(["Network shop_default", "Container shop-db-1", "Container shop-web-1"].map(String::from).into_iter());
    let mut at = |time: f64, event: ProgressEvent| {
        board.apply(&event, seconds(time));
    };
    // Nothing is heard in the order in which it is needed.
    at(2.0, ProgressEvent::new("Container shop-web-1", "Creating", State::Working));
    at(2.1, ProgressEvent::new("Container shop-web-1", "Created", State::Done));
    at(2.1, ProgressEvent::new("Container shop-db-1", "Created", State::Done));
    at(2.1, ProgressEvent::new("Container shop-web-1", "Waiting", State::Working).detail("for db to be healthy"));
    at(2.2, ProgressEvent::new("Network shop_default", "Created", State::Done));
    let (mut block, mut terminal) = (Block::default(), Terminal::new(60));
    draw(&mut block, &mut terminal, &board, 24, 5.1);
    insta::assert_snapshot!(terminal.screen(), @r"
    [+] up 2/4
     ✔ Image redis:7        Pulled                         2.0s
     ✔ Network shop_default Created                        0.0s
     · Container shop-db-1  Created
     ⠸ Container shop-web-1 Waiting for db to be healthy   3.0s
    ");
    let (mut block, mut terminal) = (Block::default(), Terminal::new(40));
    draw(&mut block, &mut terminal, &board, 24, 5.1);
    assert!(terminal.screen().contains(" ⠸ shop-web-1   for db to be he…   3.0s"), "{}", terminal.screen());
    assert_eq!(board.times(seconds(5.1)).unwrap(), "5.1s: pull 2.0s, create 0.1s, wait 3.0s");
    let lines: Vec<String> =
        board.time_lines(34, seconds(5.1), Palette::plain()).into_iter().map(|line| line.text).collect();
    assert_eq!(lines, [" 5.1s: pull 2.0s, create 0.1s,", "       wait 3.0s"]);
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(mode: Mode) -> String {
    let output = Shared::default();
    let size = Box::new(|| (60, 20));
    let progress = Progress::start_on("up", mode, Palette::plain(), Box::new(output.clone()), size);
    let image = |current| ProgressEvent::new("Image redis", "Pulling", State::Working).bytes(current, 10);
    progress.event(image(0));
    progress.event(ProgressEvent::new("aaa", "Downloading", State::Working).of("Image redis").bytes(4, 10));
    progress.event(image(9));
    progress.note("a note");
    progress.event(ProgressEvent {
        elapsed: Some(seconds(1.25)),
        ..ProgressEvent::new("Image redis", "Pulled", State::Done)
    });
    progress.event(ProgressEvent::new("Container web-1", "Error", State::Error).detail("taken\x1b[2J"));
    progress.finish();
    let bytes = output.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn plain_lines_are_few() {
    insta::assert_snapshot!(run(Mode::Plain), @r"
     Image redis  Pulling
    a note
     Image redis  Pulled 1.2s
     Container web-1  Error taken [2J
    ");
    assert_eq!(run(Mode::Quiet), "");
}

#[test]
fn json_lines_have_the_peers_keys() {
    insta::assert_snapshot!(run(Mode::Json), @r#"
    {"id":"Image redis","status":"Working","text":"Pulling","total":10}
    {"id":"aaa","parent_id":"Image redis","status":"Working","text":"Downloading","current":4,"total":10,"percent":40}
    {"id":"Image redis","status":"Working","text":"Pulling","current":9,"total":10,"percent":90}
    {"text":"a note"}
    {"id":"Image redis","status":"Done","text":"Pulled"}
    {"id":"Container web-1","status":"Error","text":"Error","details":"taken\u001b[2J"}
    "#);
}

#[test]
fn the_last_frame_of_a_terminal_stays() {
    let mut terminal = Terminal::new(60);
    terminal.write(&run(Mode::Tty));
    insta::assert_snapshot!(terminal.screen(), @r"
    a note
    [+] up 1/2
     ✔ Image redis     Pulled 10B                          1.2s
     ✘ Container web-1 Error  taken [2J                    0.0s
    ");
}

#[test]
fn modes_follow_flag_environment_and_terminal() {
    let none = BTreeMap::new();
    assert_eq!(Mode::resolve(None, None, &none, true), Mode::Tty);
    assert_eq!(Mode::resolve(None, None, &none, false), Mode::Plain);
    assert_eq!(Mode::resolve(Some(global::ProgressKind::Quiet), None, &none, true), Mode::Quiet);
    for (name, value) in [("TERM", "dumb"), ("CI", "true")] {
        let environment = BTreeMap::from([(name.into(), value.into())]);
        assert_eq!(Mode::resolve(None, None, &environment, true), Mode::Plain, "{name}");
        assert_eq!(Mode::resolve(Some(global::ProgressKind::Tty), None, &environment, true), Mode::Tty, "{name}");
    }
    assert_eq!(Mode::resolve(None, Some(global::Ansi::Never), &none, true), Mode::Plain);
}
