//! Tables and JSON of two containers.

use jiff::Timestamp;

use super::*;
use crate::network::spec::{Protocol, PublishedPort};
use crate::plan::sample::{existing, exited, record};
use crate::record::{Health, HealthStatus, ObservedContainer, Status, VolumeUse};

fn summaries() -> Vec<Summary> {
    let now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
    let mut web = record("web");
    web.created = "2026-01-01T00:00:00Z".parse().unwrap();
    web.command = "/docker-entrypoint.sh nginx -g 'daemon off;'".into();
    web.exposed = vec!["80/tcp".into(), "443/tcp".into()];
    web.labels.insert("com.docker.compose.service".into(), "web".into());
    web.volumes = vec![VolumeUse {
        volume: "shop_data".into(),
        target: "/data".into(),
        anonymous: false,
        no_copy: false,
        of_image: false,
    }];
    web.spec.mounts = vec![crate::runtime::spec::Mount {
        target: "/data".into(),
        kind: crate::runtime::spec::MountKind::Bind {
            source: "/volumes/shop_data/_data".into(),
            subpath: None,
            read_only: false,
            recursive: true,
            propagation: crate::runtime::spec::Propagation::Rprivate,
        },
    }];
    let status = Status::Running {
        pid: 1,
        start_time: 1,
        boot_id: String::new(),
        started: "2026-01-01T00:01:55Z".parse().unwrap(),
        health: Some(Health { status: HealthStatus::Healthy, failing_streak: 0, log: vec![] }),
        paused: false,
    };
    let mut web = existing(web, 1, status);
    web.record.id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into();
    let bound =
        |ip: &str| PublishedPort { host_ip: ip.parse().unwrap(), published: 8080, target: 80, protocol: Protocol::Tcp };
    web.state.ports = vec![bound("0.0.0.0"), bound("::")];
    let job: ObservedContainer = existing(record("job"), 1, exited(3));
    vec![Summary::new(&web, now), Summary::new(&job, "1970-01-01T03:00:00Z".parse().unwrap())]
}

fn text(format: Option<&str>, no_trunc: bool) -> String {
    let args = PsArgs {
        services: vec![],
        all: true,
        filter: None,
        format: None,
        no_trunc,
        orphans: true,
        quiet: false,
        only_services: false,
        status: vec![],
    };
    render(&args, &LISTING.parse(format).unwrap(), &summaries(), None).unwrap()
}

#[test]
fn the_table() {
    insta::assert_snapshot!(text(None, false), @r#"
    NAME         IMAGE     COMMAND                  SERVICE   CREATED         STATUS                   PORTS
    shop-web-1   busybox   "/docker-entrypoint.…"   web       2 minutes ago   Up 5 seconds (healthy)   443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp
    shop-job-1   busybox   "true"                   job       3 hours ago     Created
    "#);
    insta::assert_snapshot!(text(Some("table {{.Name}}\\t{{.RunningFor}}\\t{{.Label \"com.docker.compose.service\"}}"), false), @r"
    NAME         CREATED         service
    shop-web-1   2 minutes ago   web
    shop-job-1   3 hours ago
    ");
}

#[test]
fn json_lines_have_the_peers_keys() {
    insta::assert_snapshot!(text(Some("json"), false), @r#"
    {"Command":"\"/docker-entrypoint.…\"","CreatedAt":"2026-01-01 00:00:00 +0000 UTC","ExitCode":0,"Health":"healthy","ID":"0123456789ab","Image":"busybox","Labels":"com.docker.compose.service=web","LocalVolumes":"1","Mounts":"shop_data","Name":"shop-web-1","Names":"shop-web-1","Networks":"","Ports":"443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp","Project":"shop","Publishers":[{"URL":"0.0.0.0","TargetPort":80,"PublishedPort":8080,"Protocol":"tcp"},{"URL":"::","TargetPort":80,"PublishedPort":8080,"Protocol":"tcp"},{"URL":"","TargetPort":443,"PublishedPort":0,"Protocol":"tcp"}],"RunningFor":"2 minutes ago","Service":"web","Size":"0B","State":"running","Status":"Up 5 seconds (healthy)"}
    {"Command":"\"true\"","CreatedAt":"1970-01-01 00:00:00 +0000 UTC","ExitCode":3,"Health":"","ID":"job1","Image":"busybox","Labels":"","LocalVolumes":"0","Mounts":"","Name":"shop-job-1","Names":"shop-job-1","Networks":"","Ports":"","Project":"shop","Publishers":[],"RunningFor":"3 hours ago","Service":"job","Size":"0B","State":"exited","Status":"Created"}
    "#);
    assert!(text(Some("json"), true).contains("nginx -g 'daemon off;'"));
}

#[test]
fn templates_ids_and_services() {
    assert_eq!(text(Some("{{.Service}} {{.State}} {{.ExitCode}}"), false), "web running 0\njob exited 3\n");
    assert!(LISTING.parse(Some("{{.Nome}}")).is_err());
    let args = |quiet| PsArgs {
        services: vec![],
        all: true,
        filter: None,
        format: None,
        no_trunc: false,
        orphans: true,
        quiet,
        only_services: !quiet,
        status: vec![],
    };
    assert_eq!(render(&args(false), &Format::Table, &summaries(), None).unwrap(), "web\njob\n");
    assert!(
        render(&args(true), &Format::Table, &summaries(), None)
            .unwrap()
            .starts_with("0123456789abcdef0123456789abcdef0123")
    );
    assert_eq!(parse_filter("status=running").unwrap(), "running");
    assert!(parse_filter("source=x").is_err() && parse_filter("status").is_err());
}
