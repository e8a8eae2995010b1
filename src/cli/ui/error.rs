//! Errors as people see them: what failed, why, what to do.

use super::style::{Meaning, Palette};

/// One error: a message, the causes below it, longer texts that belong to it, and what to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report<'a> {
    pub message: &'a str,
    pub causes: &'a [String],
    /// Title and text: the last output of a probe, the end of a log.
    pub details: &'a [(String, String)],
    pub hints: &'a [String],
}

/// `error:`, the causes, the details, a blank line and the hints; ends with a line break.
#[must_use]
pub fn render(report: &Report<'_>, palette: Palette) -> String {
    let head = palette.paint(Meaning::Bad, "error:");
    render_below(&head, report, palette)
}

/// The same for what does not end the command.
#[must_use]
pub fn render_warning(report: &Report<'_>, palette: Palette) -> String {
    let head = palette.paint(Meaning::Warning, "warning:");
    render_below(&head, report, palette)
}

fn render_below(head: &str, report: &Report<'_>, palette: Palette) -> String {
    let mut text = String::new();
    if !report.message.is_empty() {
        text += &format!("{head} {}\n", indented(report.message));
    }
    for cause in report.causes {
        text += &format!("  {} {}\n", palette.paint(Meaning::Faint, "caused by:"), indented(cause));
    }
    for (title, body) in report.details {
        text += &format!("\n{}\n", palette.paint(Meaning::Strong, format_args!("{title}:")));
        for line in body.lines() {
            text += &format!("  {} {}\n", palette.paint(Meaning::Faint, "|"), visible(line));
        }
    }
    for (index, hint) in report.hints.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        text += &format!("{gap}{} {}\n", palette.paint(Meaning::Active, "hint:"), indented(hint));
    }
    text
}

/// One line on stderr: `warning: ...`.
#[must_use]
pub fn warning(message: &str, palette: Palette) -> String {
    format!("{} {}\n", palette.paint(Meaning::Warning, "warning:"), indented(message))
}

/// Further lines of one text stand below its first.
fn indented(text: &str) -> String {
    text.trim_end().lines().map(visible).collect::<Vec<_>>().join("\n       ")
}

/// Output of a container is shown, not obeyed.
fn visible(line: &str) -> String {
    line.chars().filter(|character| !character.is_control() || *character == '\t').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_place() {
        let report = Report {
            message: "service \"db\" did not become healthy",
            causes: &["the probe exited with code 1".into(), "first line\nsecond line".into()],
            details: &[("last output of the probe".into(), "pg_isready: \x1b[31mno response\nbye".into())],
            hints: &["look at `windlass logs db`".into(), "or raise `start_period`".into()],
        };
        insta::assert_snapshot!(render(&report, Palette::plain()), @r#"
        error: service "db" did not become healthy
          caused by: the probe exited with code 1
          caused by: first line
               second line

        last output of the probe:
          | pg_isready: [31mno response
          | bye

        hint: look at `windlass logs db`
        hint: or raise `start_period`
        "#);
        assert_eq!(warning("orphans", Palette::coloured()), "\x1b[33mwarning:\x1b[0m orphans\n");
    }
}
