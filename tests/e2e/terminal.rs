//! A person at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::pty::{Winsize, openpty};

use crate::env::{PATIENCE, TestEnv, binary};

/// windlass on a terminal, of 100 columns and 30 rows unless said otherwise.
pub struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    child: Child,
    size: (u16, u16),
}

impl Terminal {
    pub fn start(env: &TestEnv, arguments: &[&str]) -> Self {
        Self::sized(env, arguments, 30, 100)
    }

    pub fn sized(env: &TestEnv, arguments: &[&str], rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let mut command = Command::new("setsid");
        env.prepare(&mut command);
        command
            .env("TERM", "xterm")
            .args(["--ctty", "--wait"])
            .arg(binary())
            .args(arguments)
            .stdin(Stdio::from(pair.slave.try_clone().unwrap()))
            .stdout(Stdio::from(pair.slave.try_clone().unwrap()))
            .stderr(Stdio::from(pair.slave));
        let child = command.spawn().unwrap();
        drop(command);
        let keyboard = File::from(pair.master);
        let mut output = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard, screen, seen: Vec::new(), child, size: (rows, columns) }
    }

    /// What a person sees now: the rows of the screen.
    pub fn picture(&mut self) -> Vec<String> {
        self.screen();
        let (rows, columns) = self.size;
        let [rows, columns] = [rows, columns].map(|count| NonZeroU16::new(count).unwrap());
        let mut parser = vt100::Parser::new(rows, columns, 0);
        parser.process(&self.seen);
        parser.screen().rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Waits until a person sees a row that has this, and gives the row.
    #[track_caller]
    pub fn wait_to_see(&mut self, text: &str) -> String {
        let mut found = String::new();
        support::eventually(&format!("a row shows {text:?}"), PATIENCE, || {
            let picture = self.picture();
            found = picture.iter().find(|row| row.contains(text)).cloned().ok_or_else(|| picture.join("\n"))?;
            Ok(())
        });
        found
    }

    /// How the terminal treats what is typed.
    pub fn modes(&self) -> nix::sys::termios::LocalFlags {
        nix::sys::termios::tcgetattr(&self.keyboard).unwrap().local_flags
    }

    /// Sends a signal to windlass itself, not to whoever waits for it.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let group = nix::unistd::tcgetpgrp(&self.keyboard).unwrap();
        nix::sys::signal::kill(group, signal).unwrap();
    }

    pub fn type_text(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// What is on the screen so far.
    pub fn screen(&mut self) -> String {
        self.seen.extend(self.screen.try_iter().flatten());
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        support::eventually(&format!("the screen shows {text:?}"), PATIENCE, || {
            let screen = self.screen();
            if screen.contains(text) { Ok(()) } else { Err(format!("{screen:?}")) }
        });
    }

    /// The exit code, once it has ended.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        support::eventually("the command on the terminal ends", PATIENCE, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.code().unwrap_or(-1)),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
