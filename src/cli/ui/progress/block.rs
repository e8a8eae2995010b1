//! The live block: each frame is written over the one before.

use std::fmt::Write as _;

/// A line of the block: what is written, and how many columns of it are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub text: String,
    pub width: usize,
}

/// What the terminal shows of us now.
#[derive(Debug, Default)]
pub(super) struct Block {
    widths: Vec<usize>,
}

impl Block {
    /// The bytes that replace the last frame by `lines`, with `note` as a lasting line above.
    pub(super) fn frame(&mut self, note: Option<&str>, lines: &[Line], columns: usize) -> String {
        let mut text = String::new();
        // Lines that were drawn on a wider terminal take more rows now that it is narrower.
        let rows: usize = self.widths.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        if rows > 0 {
            let _ = write!(text, "\x1b[{rows}A\r");
        }
        if let Some(note) = note {
            for line in note.lines() {
                let _ = write!(text, "{line}\x1b[K\r\n");
            }
        }
        for line in lines {
            let _ = write!(text, "{}\x1b[K\r\n", line.text);
        }
        if rows > 0 {
            text.push_str("\x1b[J");
        }
        self.widths = lines.iter().map(|line| line.width).collect();
        text
    }
}
