//! The images that the tests run, made from Debian, npm and PyPI packages: what the official ones of the same names
//! have that matters (users, folders, environment, entry points), and the drivers that the test services need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::debian::Debian;
use crate::layer::{Layer, read_member};
use crate::layout::{Compression, Layout, StoredLayer};
use crate::run;

const SUITE: &str = "trixie";
const BASE: &[&str] = &["base-files", "base-passwd", "libc-bin", "dash", "coreutils"];
const PATH: &str = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin";
const LANG: &str = "LANG=C.UTF-8";

/// The root file systems that have to be made, with what is left out of each.
const ROOTS: &[(&str, &[&str], &[&str])] = &[
    (
        "postgres",
        &["bash", "sed", "grep", "findutils", "util-linux", "postgresql-17"],
        &[
            "/usr/lib/x86_64-linux-gnu/libLLVM*",
            "/usr/lib/aarch64-linux-gnu/libLLVM*",
            "/usr/lib/llvm*",
            "/usr/lib/postgresql/17/lib/bitcode*",
            "/usr/lib/postgresql/17/lib/llvmjit*",
        ],
    ),
    ("node", &["bash", "sed", "grep", "findutils", "libstdc++6", "libatomic1", "ca-certificates"], &[]),
    ("python", &["python3", "ca-certificates"], &["/usr/lib/python3*/EXTERNALLY-MANAGED"]),
    ("nginx", &["nginx-light"], &[]),
    ("redis", &["redis-server"], &[]),
];

/// Makes every image of the recipe in `layout`; `work` is for what is needed on the way.
pub fn make(work: &Path, layout: &Path, debian: &Debian) -> Result<()> {
    let kitchen = Kitchen { work, debian };
    kitchen.roots()?;
    let mut layout = Layout::create(layout, &debian.architecture)?;
    kitchen.busybox(&mut layout)?;
    kitchen.python(&mut layout)?;
    kitchen.node(&mut layout)?;
    kitchen.postgres(&mut layout)?;
    kitchen.redis(&mut layout)?;
    kitchen.nginx(&mut layout)?;
    layout.finish()
}

struct Kitchen<'a> {
    work: &'a Path,
    debian: &'a Debian,
}

impl Kitchen<'_> {
    fn root_archive(&self, name: &str) -> PathBuf {
        self.work.join(format!("{name}.tar"))
    }

    /// Two at a time: half of the work waits for the mirror.
    fn roots(&self) -> Result<()> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let cook = || -> Result<()> {
            while let Some((name, packages, leave_out)) =
                ROOTS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            {
                let packages: Vec<&str> = BASE.iter().chain(*packages).copied().collect();
                self.debian.root(SUITE, &packages, leave_out, &self.root_archive(name))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(cook);
            cook()?;
            other.join().map_err(|_| anyhow::anyhow!("a root file system failed"))?
        })
    }

    /// What the scripts of the base packages would have made.
    fn base(&self, root: &str, users: &str, groups: &str) -> Result<Layer> {
        let archive = self.root_archive(root);
        let mut passwd = read_member(&archive, "usr/share/base-passwd/passwd.master")?;
        let mut group = read_member(&archive, "usr/share/base-passwd/group.master")?;
        passwd.extend_from_slice(users.as_bytes());
        group.extend_from_slice(groups.as_bytes());
        Layer::default()
            .folder("tmp", 0o1777, (0, 0))?
            .link("var/run", "/run")?
            .link("var/lock", "/run/lock")?
            .file("etc/passwd", 0o644, &passwd)?
            .file("etc/group", 0o644, &group)
    }

    fn root_layer(&self, root: &str, layout: &Layout, compression: Compression) -> Result<StoredLayer> {
        layout.layer(&fs::read(self.root_archive(root))?, compression)
    }

    fn busybox(&self, layout: &mut Layout) -> Result<()> {
        let package = self.debian.download("busybox-static", self.work)?;
        let tree = self.work.join("busybox");
        fs::create_dir_all(&tree)?;
        run(&tree, Command::new("dpkg").arg("-x").arg(package).arg("."))?;
        let program = [tree.join("bin/busybox"), tree.join("usr/bin/busybox")].into_iter().find(|path| path.is_file());
        let program = program.context("the package has no busybox")?;
        let applets = run(self.work, Command::new(&program).arg("--list"))?;
        let mut layer = Layer::default()
            .folder("tmp", 0o1777, (0, 0))?
            .file("bin/busybox", 0o755, &fs::read(&program)?)?
            .file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")?
            .file("etc/group", 0o644, b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\nmore:x:2001:user\n")?
            .folder("root", 0o700, (0, 0))?
            .folder("home/user", 0o755, (1000, 1000))?;
        for applet in String::from_utf8(applets)?.lines().filter(|applet| *applet != "busybox") {
            layer = layer.link(&format!("bin/{applet}"), "busybox")?;
        }
        let layer = layout.layer(&layer.finish()?, Compression::Gzip)?;
        layout.image("busybox:1.35", &json!({ "Cmd": ["sh"], "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"] }), &[layer])
    }

    fn python(&self, layout: &mut Layout) -> Result<()> {
        let packages = self.work.join("python-packages");
        run(
            self.work,
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"])
                .args(["--root-user-action=ignore", "--python-version=3.13", "--only-binary=:all:", "--target"])
                .arg(&packages)
                .args(["pip==25.0.1", "pg8000==1.31.5", "redis==6.4.0"]),
        )?;
        let overlay = self
            .base("python", "", "")?
            .link("usr/local/bin/python", "/usr/bin/python3")?
            .file("usr/local/bin/pip", 0o755, b"#!/bin/sh\nexec python3 -m pip \"$@\"\n")?
            .tree(&packages, "usr/lib/python3/dist-packages")?;
        let config = json!({ "Cmd": ["python3"], "Env": [PATH, LANG, "PYTHON_VERSION=3.13"] });
        self.two_layers(layout, "python:3.13", "python", overlay, &config, Compression::Gzip)
    }

    fn node(&self, layout: &mut Layout) -> Result<()> {
        let platform = if self.debian.architecture == "arm64" { "arm64" } else { "x64" };
        let binary = format!("node-linux-{platform}@22.23.3");
        run(self.work, Command::new("npm").args(["pack", "--silent", &binary, "npm@10.9.4"]))?;
        let modules = self.work.join("node-packages");
        fs::create_dir_all(&modules)?;
        run(
            &modules,
            Command::new("npm")
                .args(["install", "--silent", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"])
                .args(["--prefix", ".", "pg@8.16.3", "redis@5.8.2"]),
        )?;
        let base = layout.layer(
            &self.base("node", "node:x:1000:1000::/home/node:/bin/bash\n", "node:x:1000:\n")?.finish()?,
            Compression::Gzip,
        )?;
        let overlay = Layer::default()
            .unpacked(&self.work.join(format!("node-linux-{platform}-22.23.3.tgz")), "package/bin", "usr/local/bin")?
            .unpacked(&self.work.join("npm-10.9.4.tgz"), "package", "usr/local/lib/node_modules/npm")?
            .link("usr/local/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js")?
            .link("usr/local/bin/npx", "../lib/node_modules/npm/bin/npx-cli.js")?
            .tree(&modules.join("node_modules"), "usr/local/lib/node_modules")?
            .folder("home/node", 0o755, (1000, 1000))?;
        let layers = [
            self.root_layer("node", layout, Compression::Gzip)?,
            base,
            layout.layer(&overlay.finish()?, Compression::Gzip)?,
        ];
        let env = [PATH, LANG, "NODE_VERSION=22.23.3", "NODE_PATH=/usr/local/lib/node_modules"];
        layout.image("node:22", &json!({ "Cmd": ["node"], "Env": env }), &layers)
    }

    fn postgres(&self, layout: &mut Layout) -> Result<()> {
        let overlay = self
            .base("postgres", "postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/bash\n", "postgres:x:999:\n")?
            .folder("var/lib/postgresql", 0o755, (999, 999))?
            .folder("var/lib/postgresql/data", 0o1777, (999, 999))?
            .folder("docker-entrypoint-initdb.d", 0o755, (0, 0))?
            .file("usr/local/bin/docker-entrypoint.sh", 0o755, include_bytes!("postgres-entrypoint.sh"))?;
        let config = json!({
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["postgres"],
            "StopSignal": "SIGINT",
            "ExposedPorts": { "5432/tcp": {} },
            "Volumes": { "/var/lib/postgresql/data": {} },
            "Env": [
                "PATH=/usr/local/bin:/usr/lib/postgresql/17/bin:/usr/bin:/usr/sbin:/bin:/sbin",
                "PGDATA=/var/lib/postgresql/data", LANG,
            ],
        });
        self.two_layers(layout, "postgres:17", "postgres", overlay, &config, Compression::Gzip)
    }

    fn redis(&self, layout: &mut Layout) -> Result<()> {
        let overlay = self.base("redis", "redis:x:999:999::/data:/usr/sbin/nologin\n", "redis:x:999:\n")?.folder(
            "data",
            0o755,
            (999, 999),
        )?;
        let config = json!({
            "Cmd": ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"],
            "WorkingDir": "/data",
            "Volumes": { "/data": {} },
            "ExposedPorts": { "6379/tcp": {} },
            "Env": [PATH, LANG],
        });
        self.two_layers(layout, "redis:8", "redis", overlay, &config, Compression::Zstd)
    }

    fn nginx(&self, layout: &mut Layout) -> Result<()> {
        let overlay = self
            .base("nginx", "", "")?
            .folder("var/lib/nginx", 0o755, (0, 0))?
            .link("var/log/nginx/access.log", "/dev/stdout")?
            .link("var/log/nginx/error.log", "/dev/stderr")?
            .file("usr/share/nginx/html/index.html", 0o644, b"<h1>Welcome to nginx!</h1>\n")?
            .file(
                "etc/nginx/conf.d/default.conf",
                0o644,
                b"server {\n    listen 80;\n    root /usr/share/nginx/html;\n}\n",
            )?;
        let config = json!({
            "Cmd": ["nginx", "-g", "daemon off;"],
            "StopSignal": "SIGQUIT",
            "ExposedPorts": { "80/tcp": {} },
            "Env": [PATH],
        });
        self.two_layers(layout, "nginx:1.26", "nginx", overlay, &config, Compression::Gzip)
    }

    fn two_layers(
        &self,
        layout: &mut Layout,
        name: &str,
        root: &str,
        overlay: Layer,
        config: &Value,
        compression: Compression,
    ) -> Result<()> {
        let layers = [self.root_layer(root, layout, compression)?, layout.layer(&overlay.finish()?, compression)?];
        layout.image(name, config, &layers)
    }
}
