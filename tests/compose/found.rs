//! All seeds of the fuzz targets, and what the targets have found so far, once more.

use std::path::Path;

use crate::untrusted;

#[test]
fn no_text_of_the_fixtures_breaks_a_reader() {
    for folder in ["found", "compose", "faults"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            eprintln!("{}", path.display());
            let text = std::fs::read_to_string(path).unwrap();
            untrusted::yaml(&text);
            untrusted::template(&text);
            untrusted::dotenv(&text);
            untrusted::loader(&text);
            untrusted::reference(&text);
        }
    }
}

#[test]
fn no_bytes_of_the_seeds_break_a_reader() {
    for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")).unwrap() {
        for entry in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            eprintln!("{}", path.display());
            let bytes = std::fs::read(path).unwrap();
            untrusted::layer(&bytes);
            untrusted::archive(&bytes);
            untrusted::manifest(&bytes);
            untrusted::dns(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            untrusted::accounts(&text);
            untrusted::resolver(&text);
        }
    }
}

/// Seeds with bytes changed, taken out and put in: what `scripts/fuzz` does with more patience.
fn changed(target: &'static str, check: fn(&[u8])) {
    use proptest::prelude::*;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let edit = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..4), 0_usize..5);
    let edits = prop::collection::vec(edit, 1..8);
    proptest!(|(seed in prop::sample::select(seeds), edits in edits)| {
        let mut bytes = seed;
        for (at, new, taken) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + taken).min(bytes.len());
            bytes.splice(at..end, new);
        }
        check(&bytes);
    });
}

#[test]
fn changed_layers_break_nothing() {
    changed("layer", untrusted::layer);
}

#[test]
fn changed_archives_break_nothing() {
    changed("archive", untrusted::archive);
}

#[test]
fn changed_manifests_packets_and_accounts_break_nothing() {
    changed("manifest", untrusted::manifest);
    changed("dns", untrusted::dns);
    changed("accounts", |bytes| untrusted::accounts(&String::from_utf8_lossy(bytes)));
    changed("resolver", |bytes| untrusted::resolver(&String::from_utf8_lossy(bytes)));
}
