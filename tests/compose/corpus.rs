//! Files of every attribute and merge rule against what `docker compose config` 2.40.3 prints for them, and faulty files
//! against what is shown for them. `refused` says that both refuse it. `UPDATE_FIXTURES=1` writes the expected texts of
//! the faulty files anew; read them before they are committed.

use windlass::cli::commands::config::render;
use windlass::diag::{Paint, render_all};

use crate::fixture::{Fixture, fixtures};
use crate::untrusted::Sections;

#[test]
fn config_prints_what_the_peer_prints() {
    let fixtures = fixtures("compose");
    assert!(fixtures.len() >= 300, "{}", fixtures.len());
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let (flags, loaded) = fixture.load();
        match (loaded, fixture.section("expected")) {
            (Ok(loaded), Some(expected)) => {
                let printed = render(&flags.config, &loaded).map_err(|_| "no output").unwrap();
                if printed.trim_end() != expected.trim_end() {
                    wrong.push(format!("{}: differs\n{printed}\ninstead of\n{expected}", fixture.name));
                }
            }
            (Err(failure), Some(_)) => wrong.push(format!("{}: refused\n{failure}", fixture.name)),
            (Ok(_), None) => wrong.push(format!("{}: not refused", fixture.name)),
            (Err(_), None) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), fixtures.len(), wrong.join("\n"));
}

#[test]
fn config_of_config_is_the_same() {
    for fixture in fixtures("compose").iter().filter(|fixture| fixture.section("args").is_none()) {
        let (flags, Ok(loaded)) = fixture.load() else { continue };
        let printed = render(&flags.config, &loaded).map_err(|_| "no output").unwrap();
        let again = Fixture {
            path: fixture.path.clone(),
            name: fixture.name.clone(),
            sections: Sections::new(
                fixture.sections.folder(),
                std::iter::once(("compose.yaml", printed.as_str()))
                    .chain(fixture.sections.iter().filter(|(name, _)| *name == ".env")),
            ),
        };
        match again.load() {
            (flags, Ok(loaded)) => {
                let twice = render(&flags.config, &loaded).map_err(|_| "no output").unwrap();
                assert_eq!(twice, printed, "{}", fixture.name);
            }
            (_, Err(failure)) => panic!("{}: {failure}\n{printed}", fixture.name),
        }
    }
}

#[test]
fn faults_are_shown_as_they_should_be() {
    let fixtures = fixtures("faults");
    assert!(fixtures.len() >= 120, "{}", fixtures.len());
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let shown = match fixture.load() {
            (_, Ok(loaded)) => render_all(&loaded.warnings, &loaded.sources, Paint::Plain),
            (_, Err(failure)) => render_all(&failure.diagnostics, &failure.sources, Paint::Plain),
        };
        assert!(!shown.is_empty(), "{}: nothing to say", fixture.name);
        if fixture.section("expected").map(str::trim_end) == Some(shown.trim_end()) {
            continue;
        }
        if update {
            let files = fixture.sections.iter().filter(|(name, _)| *name != "expected");
            let mut text: String = files.map(|(name, text)| format!("-- {name} --\n{text}")).collect();
            text.push_str("-- expected --\n");
            text.push_str(&shown);
            std::fs::write(&fixture.path, text).unwrap();
        } else {
            wrong.push(format!("{}:\n{shown}", fixture.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
