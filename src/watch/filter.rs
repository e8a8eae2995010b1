//! Which files of a watched path count: what is ignored by default, by `.gitignore`, by `.dockerignore` and by the rule.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::pattern::Pattern;

/// Ignored unless a later list says `!`: version control, what package managers and interpreters make, and the files
/// that editors have for a moment. `docs/guide/watch.md` shows this list.
pub const DEFAULTS: &[&str] = &[
    "**/.git",
    "**/.hg",
    "**/.svn",
    "**/node_modules",
    "**/bower_components",
    "**/__pycache__",
    "**/*.pyc",
    "**/.venv",
    "**/.tox",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/.idea",
    "**/.vscode",
    "**/.DS_Store",
    // vim, emacs, kate, JetBrains, gedit
    "**/4913",
    "**/*~",
    "**/.*.sw?",
    "**/.*.swpx",
    "**/.#*",
    "**/#*#",
    "**/.*.kate-swp",
    "**/*___jb_tmp___",
    "**/*___jb_old___",
    "**/.goutputstream-*",
];

/// What a list says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ignored,
    Kept,
}

/// The files of a watched path that count. The lists are asked in their order; the last one that has an opinion wins.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The watched path.
    root: PathBuf,
    defaults: Vec<Pattern>,
    /// By folder: those of the repository above the watched path, and those below it as they are found.
    git: Option<HashMap<PathBuf, Gitignore>>,
    docker: Option<(PathBuf, Vec<Pattern>)>,
    ignore: Vec<Pattern>,
    /// Empty: everything.
    include: Vec<Pattern>,
}

/// What a filter is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    pub ignore: Vec<String>,
    pub include: Vec<String>,
    /// The file, and the folder that its patterns start from.
    pub dockerignore: Option<(PathBuf, PathBuf)>,
}

/// The text of a file, and of nothing that nobody may ever write to.
fn regular(file: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    std::fs::read_to_string(file)
}

/// The patterns of a folder's `.gitignore`; as git does it, a line that is no pattern matches nothing.
fn gitignore(folder: &Path, text: &str) -> Option<Gitignore> {
    let mut list = GitignoreBuilder::new(folder);
    for line in text.lines() {
        let _ = list.add_line(None, line);
    }
    list.build().ok()
}

impl Filter {
    /// Reads the lists that lie beside the files. With `include` the rule says exactly what it wants, and `.gitignore`
    /// is not asked.
    #[must_use]
    pub fn new(root: &Path, lists: &Lists) -> Self {
        let patterns = |lines: &[String]| lines.iter().filter_map(|line| Pattern::docker(line)).collect::<Vec<_>>();
        let docker = lists.dockerignore.as_ref().and_then(|(file, base)| {
            let text = regular(file).ok()?;
            Some((base.clone(), text.lines().filter_map(Pattern::docker).collect()))
        });
        let mut filter = Self {
            root: root.to_owned(),
            defaults: DEFAULTS.iter().filter_map(|line| Pattern::docker(line)).collect(),
            git: lists.include.is_empty().then(HashMap::new),
            docker,
            ignore: patterns(&lists.ignore),
            include: patterns(&lists.include),
        };
        filter.enter_repository();
        filter
    }

    /// The `.gitignore` files between the top of the repository and the watched path.
    fn enter_repository(&mut self) {
        let Some(top) = self.root.ancestors().find(|folder| folder.join(".git").exists()) else { return };
        let top = top.to_owned();
        let above: Vec<PathBuf> =
            self.root.ancestors().skip(1).take_while(|folder| folder.starts_with(&top)).map(Path::to_owned).collect();
        for folder in above {
            self.enter(&folder);
        }
    }

    /// Takes in (again) the `.gitignore` of a folder.
    pub fn enter(&mut self, folder: &Path) {
        let Some(git) = &mut self.git else { return };
        match regular(&folder.join(".gitignore")).ok().and_then(|text| gitignore(folder, &text)) {
            Some(list) => _ = git.insert(folder.to_owned(), list),
            None => _ = git.remove(folder),
        }
    }

    /// Whether a file at or below the watched path counts.
    #[must_use]
    pub fn counts(&self, path: &Path, is_folder: bool) -> bool {
        if self.verdict(path, is_folder) == Some(Verdict::Ignored) {
            return false;
        }
        let Ok(relative) = path.strip_prefix(&self.root) else { return false };
        relative.as_os_str().is_empty()
            || self.include.is_empty()
            || self.include.iter().any(|pattern| pattern.matches_or_parent(relative))
            || (is_folder && self.include.iter().any(|pattern| pattern.may_match_below(relative)))
    }

    /// Whether there may be something in a folder that counts. What there is not is neither read nor watched.
    #[must_use]
    pub fn enters(&self, folder: &Path) -> bool {
        self.verdict(folder, true) != Some(Verdict::Ignored) || self.may_keep_below(folder)
    }

    /// Whether everything at the watched path is ignored.
    #[must_use]
    pub fn ignores_everything(&self) -> bool {
        let all = |patterns: &[Pattern]| {
            patterns.iter().any(|pattern| !pattern.negated && pattern.matches(Path::new("\u{1}any")))
                && !patterns.iter().any(|pattern| pattern.negated)
        };
        all(&self.ignore) || (self.verdict(&self.root, true) == Some(Verdict::Ignored) && !self.enters(&self.root))
    }

    fn may_keep_below(&self, folder: &Path) -> bool {
        let kept = |base: &Path, patterns: &[Pattern]| {
            folder.strip_prefix(base).is_ok_and(|relative| {
                patterns.iter().any(|pattern| pattern.negated && pattern.may_match_below(relative))
            })
        };
        kept(&self.root, &self.ignore) || self.docker.as_ref().is_some_and(|(base, patterns)| kept(base, patterns))
    }

    fn verdict(&self, path: &Path, is_folder: bool) -> Option<Verdict> {
        let own = |patterns: &[Pattern]| path.strip_prefix(&self.root).ok().and_then(|path| listed(patterns, path));
        let docker = || {
            let (base, patterns) = self.docker.as_ref()?;
            listed(patterns, path.strip_prefix(base).ok()?)
        };
        own(&self.ignore).or_else(docker).or_else(|| self.by_git(path, is_folder)).or_else(|| own(&self.defaults))
    }

    /// Folder by folder from the watched path down: what lies in an ignored one cannot be kept. What git ignores above
    /// the watched path, or this path itself, was named by the rule nevertheless.
    fn by_git(&self, path: &Path, is_folder: bool) -> Option<Verdict> {
        let git = self.git.as_ref().filter(|git| !git.is_empty())?;
        let relative = path.strip_prefix(&self.root).ok()?;
        let mut at = self.root.clone();
        let mut last = None;
        let count = relative.components().count();
        for (index, name) in relative.iter().enumerate() {
            at.push(name);
            let folder = is_folder || index + 1 < count;
            // The nearest file that says something wins, and in it the last line.
            last = at.ancestors().skip(1).find_map(|base| match git.get(base)?.matched(&at, folder) {
                Match::None => None,
                Match::Ignore(_) => Some(Verdict::Ignored),
                Match::Whitelist(_) => Some(Verdict::Kept),
            });
            if last == Some(Verdict::Ignored) {
                return last;
            }
        }
        last
    }
}

/// The last pattern that means the path or a folder above it.
fn listed(patterns: &[Pattern], path: &Path) -> Option<Verdict> {
    let found = patterns.iter().rev().find(|pattern| pattern.matches_or_parent(path))?;
    Some(if found.negated { Verdict::Kept } else { Verdict::Ignored })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[(&str, &str)]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            for (name, text) in files {
                let path = tree.at(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            tree
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn filter(&self, root: &str, ignore: &[&str], include: &[&str]) -> Filter {
            let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
            let dockerignore = Some((self.at(".dockerignore"), self.at("")));
            Filter::new(&self.at(root), &Lists { ignore: texts(ignore), include: texts(include), dockerignore })
        }

        fn counted(&self, filter: &Filter, paths: &[&str]) -> Vec<String> {
            let counts = |path: &&&str| filter.counts(&self.at(path), false);
            paths.iter().filter(counts).map(|path| (*path).to_owned()).collect()
        }
    }

    #[test]
    fn defaults_hide_what_editors_and_package_managers_make() {
        let tree = Tree::new(&[]);
        let filter = tree.filter("", &[], &[]);
        let hidden = [
            ".git/index.lock",
            "node_modules/a/b.js",
            "web/node_modules/a.js",
            "app/__pycache__/a.cpython-312.pyc",
            "4913",
            "app.py~",
            ".app.py.swp",
            ".app.py.swx",
            "src/.#file",
            "#file#",
            "a.js___jb_tmp___",
        ];
        assert_eq!(tree.counted(&filter, &hidden), Vec::<String>::new());
        let seen = [".gitignore", ".env", "app.py", "dist/a.js", "swp", "a.swp.txt", "49134"];
        assert_eq!(tree.counted(&filter, &seen), seen);
        assert!(!filter.enters(&tree.at("node_modules")));
    }

    #[test]
    fn a_later_list_brings_back_what_an_earlier_one_hides() {
        let tree = Tree::new(&[
            (".git/HEAD", ""),
            (".gitignore", "*.log\n/dist/\n"),
            (".dockerignore", "secret\n!keep.log\n"),
            ("src/.gitignore", "local.py\n!important.log\n"),
        ]);
        let mut filter = tree.filter("", &["*.tmp", "!node_modules", "!dist/app.js"], &[]);
        filter.enter(&tree.at(""));
        filter.enter(&tree.at("src"));
        let paths = [
            "a.log",
            "keep.log",
            "secret/x",
            "src/local.py",
            "local.py",
            "src/important.log",
            "x.tmp",
            "node_modules/a.js",
            "dist/app.js",
            "dist/other.js",
        ];
        let counted = ["keep.log", "local.py", "src/important.log", "node_modules/a.js", "dist/app.js"];
        assert_eq!(tree.counted(&filter, &paths), counted);
        assert!(filter.enters(&tree.at("dist")), "one of its files is kept");
        assert!(!filter.enters(&tree.at("secret")));
    }

    #[test]
    fn a_path_that_git_ignores_can_be_watched_by_name() {
        let tree = Tree::new(&[(".git/HEAD", ""), (".gitignore", "dist\n*.map\n")]);
        let filter = tree.filter("dist", &[], &[]);
        assert_eq!(tree.counted(&filter, &["dist/app.js", "dist/app.js.map"]), ["dist/app.js"]);
        let filter = tree.filter("", &[], &["dist/**"]);
        assert_eq!(tree.counted(&filter, &["dist/app.js", "src/a.js"]), ["dist/app.js"]);
    }

    #[test]
    fn only_what_is_included_counts() {
        let tree = Tree::new(&[]);
        let filter = tree.filter("src", &["**/test_*"], &["**/*.py", "static"]);
        let paths = ["src/a.py", "src/deep/b.py", "src/a.txt", "src/static/x.css", "src/deep/test_a.py"];
        assert_eq!(tree.counted(&filter, &paths), ["src/a.py", "src/deep/b.py", "src/static/x.css"]);
        assert!(filter.enters(&tree.at("src/deep")));
        assert!(!filter.counts(&tree.at("other/a.py"), false));
    }

    #[test]
    fn a_rule_that_can_match_nothing() {
        let tree = Tree::new(&[(".dockerignore", "docs\n")]);
        assert!(tree.filter("src", &["**"], &[]).ignores_everything());
        assert!(tree.filter("src", &["*"], &[]).ignores_everything());
        assert!(tree.filter("docs", &[], &[]).ignores_everything());
        assert!(!tree.filter("src", &["*", "!a"], &[]).ignores_everything());
        assert!(!tree.filter("src", &["*.md"], &[]).ignores_everything());
    }

    fn git(pattern: &str, path: &str) -> bool {
        let (path, folder) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        gitignore(Path::new("/r"), pattern).unwrap().matched(Path::new("/r").join(path), folder).is_ignore()
    }

    #[test]
    fn gits_patterns_without_a_slash_are_names_anywhere() {
        for (pattern, path) in [
            ("*.log", "a/b/c.log"),
            ("build/", "x/build/"),
            ("/dist", "dist"),
            ("doc/*.txt", "doc/a.txt"),
            ("**/cache", "a/b/cache"),
            ("logs/**", "logs/a/b"),
            ("a/**/b", "a/b"),
        ] {
            assert!(git(pattern, path), "{pattern} means {path}");
        }
        for (pattern, path) in
            [("build/", "build"), ("/dist", "a/dist"), ("doc/*.txt", "doc/sub/a.txt"), ("doc/*.txt", "x/doc/a.txt")]
        {
            assert!(!git(pattern, path), "{pattern} does not mean {path}");
        }
        assert!(git("name\\ ", "name "));
        assert!(!git("!x", "x") && !git("# x", "# x") && !git("", "x"));
        let list = gitignore(Path::new("/r"), "[z-a]\n*.log\n").unwrap();
        assert!(list.matched("/r/a.log", false).is_ignore(), "what is no pattern keeps no other from its work");
    }
}
