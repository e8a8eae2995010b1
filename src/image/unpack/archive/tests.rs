use super::*;
use crate::image::testing::{self, Item};

fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
    let mut archive = Archive::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut content = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match archive.read_content(&mut buffer)? {
                0 => break,
                read => content.extend_from_slice(&buffer[..read]),
            }
        }
        entries.push((entry, content));
    }
    Ok(entries)
}

fn names(bytes: &[u8]) -> Vec<String> {
    entries(bytes).unwrap().iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

fn error(bytes: &[u8]) -> String {
    entries(bytes).unwrap_err().to_string()
}

/// Changes the first header and gives it a fitting checksum.
fn patched(mut bytes: Vec<u8>, change: impl Fn(&mut [u8])) -> Vec<u8> {
    change(&mut bytes[..512]);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

#[test]
fn what_gnu_tar_writes_in_each_of_its_formats() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
    std::fs::create_dir(folder.path().join("d".repeat(90))).unwrap();
    std::fs::write(folder.path().join(&long), "content").unwrap();
    for format in ["gnu", "pax", "ustar", "oldgnu"] {
        let mut file = long.clone();
        if format == "ustar" {
            // It cannot hold a name of more than 100 bytes.
            file = format!("{}/short", "d".repeat(90));
            std::fs::write(folder.path().join(&file), "content").unwrap();
        }
        let output = std::process::Command::new("tar")
            .args(["-c", "--owner=70000000", "--group=5", "--mtime=@-100", "-C"])
            .arg(folder.path())
            .args(["--format", format, &file])
            .output()
            .unwrap();
        if !output.status.success() {
            // ustar has no room for such an owner or time either.
            assert_eq!(format, "ustar");
            continue;
        }
        let read = entries(&output.stdout).unwrap();
        let (entry, content) = &read[0];
        assert_eq!((entry.path.as_slice(), content.as_slice()), (file.as_bytes(), &b"content"[..]), "{format}");
        assert_eq!((entry.uid, entry.gid, entry.mtime), (70_000_000, 5, (-100, 0)), "{format}");
    }
}

#[test]
fn pax_records_override_the_header() {
    let item = Item::file("short", "12345")
        .pax("path", "long/name")
        .pax("uid", "4000000000")
        .pax("mtime", "-1.5")
        .pax("SCHILY.xattr.user.a", b"\0\xff=\n")
        .pax("comment", "whatever");
    let read = entries(&testing::archive(&[item])).unwrap();
    let entry = &read[0].0;
    assert_eq!((entry.path.as_slice(), entry.uid, entry.mtime), (&b"long/name"[..], 4_000_000_000, (-2, 500_000_000)));
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"\0\xff=\n".to_vec())]);
}

#[test]
fn the_size_of_pax_decides_where_the_next_entry_starts() {
    // The header says 0, the record says 512: a reader that believes the header sees another archive.
    let hidden = Item::file("hidden", "").blocks();
    let mut first = Item::file("first", "").pax("size", "512").blocks();
    first.extend_from_slice(&hidden);
    let bytes = [first, testing::archive(&[Item::file("second", "")])].concat();
    assert_eq!(names(&bytes), ["first", "second"]);
}

#[test]
fn only_files_have_content() {
    // As Go reads it: the size in the header of a link, directory or device means nothing.
    for kind in [tar::EntryType::Link, tar::EntryType::Symlink, tar::EntryType::Directory, tar::EntryType::Char] {
        let item = Item { link: "x".into(), ..Item::new(kind, "a") };
        let header = patched(item.blocks(), |header| header[124..136].copy_from_slice(b"00000001000\0"));
        let bytes = [header, testing::archive(&[Item::file("b", "")])].concat();
        assert_eq!(names(&bytes), ["a", "b"], "{kind:?}");
    }
}

#[test]
fn damage_is_said_with_its_place() {
    let whole = testing::archive(&[Item::file("a", vec![1; 1000]), Item::file("b", "")]);
    assert_eq!(names(&whole[..whole.len() - 1024]), ["a", "b"], "no end mark is no error");
    assert!(error(&whole[..700]).contains("ends within a file"));
    assert!(error(&whole[..300]).contains("ends within a header"));
    let mut wrong = whole.clone();
    wrong[0] = b'z';
    assert!(error(&wrong).contains("damaged at byte 0: the checksum"));
    wrong = whole.clone();
    wrong[1536] = b'z';
    assert!(error(&wrong).contains("damaged at byte 1536"));
    let size = patched(whole.clone(), |header| header[124..136].copy_from_slice(b"xxxxxxxxxxx\0"));
    assert!(error(&size).contains("the size of an entry is not a number"));
    let negative = patched(whole.clone(), |header| header[124..136].fill(0xff));
    assert!(error(&negative).contains("the size of an entry is not a number"));
    let huge = patched(whole.clone(), |header| {
        header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    });
    assert!(error(&huge).contains("larger than any file"));
    let strange = patched(whole, |header| header[156] = b'Z');
    assert!(error(&strange).contains("kind of entry that tar does not define"));
}

#[test]
fn malformed_and_huge_extensions_are_refused() {
    let with = |records: &[u8], kind: u8| {
        let mut item = Item::file("x", records);
        item.kind = tar::EntryType::new(kind);
        [item.blocks(), testing::archive(&[Item::file("a", "")])].concat()
    };
    for records in [
        &b"5 a=b"[..],
        b"x a=b\n",
        b"3 a\n",
        b"99999999999999999999 a=b\n",
        b"0 a=b\n",
        b"6 ab\n\n",
        b"12 size=-1\n\n",
        b"10 size=\xff\n",
        b"14 path=a\0bcd\n",
        b"21 SCHILY.xattr.=abc\n",
        b"22 GNU.sparse.major=1\n",
    ] {
        assert!(error(&with(records, b'x')).contains("malformed"), "{}", String::from_utf8_lossy(records));
    }
    assert_eq!(names(&with(&[], b'x')), ["a"]);
    assert_eq!(names(&with(b"19 path=otherplace\n", b'g')), ["a"], "global headers mean nothing");
    assert!(error(&with(&vec![b'a'; (1 << 20) + 1], b'x')).contains("larger than 1 MiB"));
    assert!(error(&with(&vec![b'a'; (1 << 20) + 1], b'L')).contains("larger than 1 MiB"));
    let mut alone = Item::file("x", b"9 path=a\n");
    alone.kind = tar::EntryType::XHeader;
    assert!(error(&testing::archive(&[alone])).contains("ends after an extended header"));
    for (kind, word) in [(b'S', "sparse"), (b'M', "multi-volume"), (b'V', "label")] {
        assert!(error(&with(&[], kind)).contains(word));
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..3000)) {
        let _ = entries(&bytes);
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(at in 0_usize..4096, byte in proptest::num::u8::ANY) {
        let item = Item::file("file", vec![3; 600]).pax("path", "other").pax("mtime", "1.5");
        let mut bytes = testing::archive(&[item, Item::symlink("link", "target"), Item::dir("dir/")]);
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = entries(&bytes);
        // With a fitting checksum, the fields themselves are looked at.
        if at % 512 < 345 {
            let _ = entries(&patched(bytes, |_| {}));
        }
    }
}
