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
