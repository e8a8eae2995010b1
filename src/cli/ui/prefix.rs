//! The part of a log line before the line: `web-1  | `.

use super::style::{Meaning, Palette, width};

/// Prefixes of the containers whose logs are shown together; they grow with the longest name.
#[derive(Debug, Clone)]
pub struct Prefixes {
    palette: Palette,
    hidden: bool,
    width: usize,
}

impl Prefixes {
    /// `hidden` is `--no-log-prefix`.
    #[must_use]
    pub fn new(palette: Palette, hidden: bool) -> Self {
        Self { palette, hidden, width: 0 }
    }

    /// Makes room for a name.
    pub fn register(&mut self, name: &str) {
        self.width = self.width.max(width(name));
    }

    /// `colour` is the number of the service, so that a service keeps its colour from one command to the next.
    #[must_use]
    pub fn prefix(&self, name: &str, colour: usize) -> String {
        if self.hidden {
            return String::new();
        }
        let padding = " ".repeat((self.width + 1).saturating_sub(width(name)));
        self.palette.paint(Meaning::Service(colour), format_args!("{name}{padding} | "))
    }

    /// A remark about a container among its lines: `web-1 exited with code 0`.
    #[must_use]
    pub fn remark(&self, name: &str, colour: usize, text: &str) -> String {
        self.palette.paint(Meaning::Service(colour), format_args!("{name} {text}"))
    }
}

/// `web-1` for `shop-web-1`; a name of the user's own stays as it is.
#[must_use]
pub fn short_name<'a>(project: &str, container: &'a str) -> &'a str {
    container
        .strip_prefix(project)
        .and_then(|rest| rest.strip_prefix(['-', '_']))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(container)
}

/// The number of a service's colour: its place in the file; by its name when the file no longer has it.
#[must_use]
pub fn colour(services: &[String], service: &str) -> usize {
    services.iter().position(|name| name == service).unwrap_or_else(|| colour_of_name(service))
}

/// The number of the colour of a service that has no place.
#[must_use]
pub fn colour_of_name(service: &str) -> usize {
    // FNV-1a: the same in every run.
    let hash = service
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % 10).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_align_and_colours_stay() {
        let mut prefixes = Prefixes::new(Palette::plain(), false);
        prefixes.register("web-1");
        assert_eq!(prefixes.prefix("web-1", 0), "web-1  | ");
        prefixes.register("worker-12");
        assert_eq!(prefixes.prefix("web-1", 0), "web-1      | ");
        assert_eq!(Prefixes::new(Palette::coloured(), true).prefix("web-1", 0), "");
        let coloured = Prefixes { palette: Palette::coloured(), ..prefixes };
        assert_eq!(coloured.prefix("worker-12", 11), "\x1b[33mworker-12  | \x1b[0m");
        let services = ["db".to_owned(), "web".to_owned()];
        assert_eq!(colour(&services, "web"), 1);
        assert_eq!(colour(&services, "gone"), colour(&[], "gone"));
    }

    #[test]
    fn the_project_is_not_repeated() {
        assert_eq!(short_name("shop", "shop-web-1"), "web-1");
        assert_eq!(short_name("shop", "shop_web_1"), "web_1");
        assert_eq!(short_name("shop", "shopper"), "shopper");
        assert_eq!(short_name("shop", "database"), "database");
    }
}
