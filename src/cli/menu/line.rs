//! The line of the menu, for any width.

use crate::cli::ui::style::{Meaning, Palette, ellipsis, width};

/// What a key would do now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    /// Whether edits are followed.
    pub watching: bool,
    /// Whether detaching is something else than ending.
    pub detach: bool,
    /// The one service whose lines are shown.
    pub only: Option<&'a str>,
}

impl Shown<'_> {
    fn items(&self) -> Vec<(&'static str, String)> {
        let mut items = vec![("w", if self.watching { "watch off" } else { "watch" }.to_owned())];
        if self.detach {
            items.push(("d", "detach".to_owned()));
        }
        items.push(("r", "restart".to_owned()));
        items.push(("l", self.only.map_or_else(|| "logs".to_owned(), |only| format!("all, not {only} alone"))));
        items.push(("s", "shell".to_owned()));
        items.push(("q", if self.detach { "stop" } else { "quit" }.to_owned()));
        items
    }

    /// The keys with what they do; the keys alone where that does not fit. Never as wide as the terminal.
    pub(super) fn line(&self, columns: usize, palette: Palette) -> (String, usize) {
        let room = columns.saturating_sub(1);
        let items = self.items();
        for gap in ["   ", "  "] {
            let wide = items.iter().map(|(key, word)| width(key) + 1 + width(word)).sum::<usize>()
                + gap.len() * items.len().saturating_sub(1)
                + 1;
            if wide <= room {
                let painted: Vec<String> = items
                    .iter()
                    .map(|(key, word)| {
                        format!("{} {}", palette.paint(Meaning::Strong, key), palette.paint(Meaning::Faint, word))
                    })
                    .collect();
                return (format!(" {}", painted.join(gap)), wide);
            }
        }
        let keys: Vec<&str> = items.iter().map(|(key, _)| *key).chain(["? help"]).collect();
        let text = ellipsis(&format!(" {}", keys.join("  ")), room);
        let wide = width(&text);
        (palette.paint(Meaning::Strong, text), wide)
    }

    /// What `?` tells.
    pub(super) fn help(&self) -> String {
        let meaning = |key: &str| match key {
            "w" => "follow edits of the project's files, or stop doing so",
            "d" => "leave; the services go on",
            "r" => "restart a service",
            "l" => "show the lines of one service, or of all again",
            "s" => "open a shell in a service",
            _ if self.detach => "stop the services, as Ctrl-C does",
            _ => "leave, as Ctrl-C does",
        };
        self.items().iter().map(|(key, _)| format!("  {key}  {}\n", meaning(key))).collect()
    }
}

/// `restart which? 1 web  2 db › w`; the services give way to what is typed.
pub(super) fn question(
    what: &str,
    services: &[String],
    typed: &str,
    columns: usize,
    palette: Palette,
) -> (String, usize) {
    let room = columns.saturating_sub(1);
    let list: Vec<String> = services.iter().enumerate().map(|(index, name)| format!("{} {name}", index + 1)).collect();
    let end = format!("› {typed}");
    let head = format!(" {what} which? ");
    let list = ellipsis(&list.join("  "), room.saturating_sub(width(&head) + width(&end) + 1));
    let text = ellipsis(&format!("{head}{list} {end}"), room);
    let wide = width(&text);
    (palette.paint(Meaning::Strong, text), wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_every_width() {
        let plain = |shown: Shown<'_>, columns| shown.line(columns, Palette::plain()).0;
        let shown = Shown { watching: false, detach: true, only: None };
        insta::assert_snapshot!(plain(shown, 80), @" w watch   d detach   r restart   l logs   s shell   q stop");
        insta::assert_snapshot!(plain(shown, 40), @" w  d  r  l  s  q  ? help");
        let shown = Shown { watching: true, detach: false, only: Some("web") };
        insta::assert_snapshot!(plain(shown, 80), @" w watch off   r restart   l all, not web alone   s shell   q quit");
        let services = ["web".to_owned(), "db".to_owned(), "a-long-name".to_owned()];
        insta::assert_snapshot!(question("restart", &services, "w", 80, Palette::plain()).0, @" restart which? 1 web  2 db  3 a-long-name › w");
        insta::assert_snapshot!(question("restart", &services, "w", 40, Palette::plain()).0, @" restart which? 1 web  2 db  3 a-l… › w");
        for columns in 0..100 {
            for (text, wide) in
                [shown.line(columns, Palette::plain()), question("shell", &services, "web", columns, Palette::plain())]
            {
                assert!(wide < columns.max(1) && width(&text) == wide, "{columns}: {text:?}");
            }
        }
    }
}
