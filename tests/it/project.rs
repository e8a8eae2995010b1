//! A project folder, and the built binary in it with a cleared environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct Folder {
    root: TempDir,
    variables: Vec<(String, String)>,
}

pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    /// An empty folder named `shop`.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("shop")).unwrap();
        Self { root, variables: Vec::new() }
    }

    /// One with a Compose file.
    pub fn with(compose: &str) -> Self {
        let folder = Self::new();
        folder.file("compose.yaml", compose);
        folder
    }

    /// A copy of a folder of `tests/fixtures`.
    pub fn copy(fixture: &str) -> Self {
        fn copy(from: &Path, to: &Path) {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => copy(&entry.path(), &to.join(entry.file_name())),
                    false => _ = fs::copy(entry.path(), to.join(entry.file_name())).unwrap(),
                }
            }
        }
        let folder = Self::new();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture), &folder.path());
        folder
    }

    pub fn path(&self) -> PathBuf {
        self.root.path().join("shop")
    }

    pub fn file(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.root.path())
            .env("WINDLASS_HOME", self.root.path().join("home"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        // A test's own folder is nothing to compare.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*self.root.path().to_string_lossy(), "");
        Output { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "windlass {}:\n{}", arguments.join(" "), output.stderr);
        output.stdout
    }
}
