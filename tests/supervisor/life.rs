use windlass::record::*;
use windlass::runtime::spec::{ExecSpec, ExitStatus, TerminalSize};

use crate::engine::Call;
use crate::project::{TestProject, eventually};

pub const TESTS: &[(&str, fn())] = &[
    ("life::a_container_runs_writes_and_ends", a_container_runs_writes_and_ends),
    ("life::stop_is_graceful_then_deadly", stop_is_graceful_then_deadly),
    ("life::a_program_that_is_missing_leaves_nothing", a_program_that_is_missing_leaves_nothing),
    ("life::policies_bring_containers_back", policies_bring_containers_back),
    ("life::conditions_are_met_or_say_why_not", conditions_are_met_or_say_why_not),
    ("life::hooks_and_exec", hooks_and_exec),
    ("life::much_output_is_all_there", much_output_is_all_there),
    ("life::secrets_volumes_and_etc", secrets_volumes_and_etc),
    ("life::pause_and_stop", pause_and_stop),
    ("life::a_terminal", a_terminal),
];

fn a_container_runs_writes_and_ends() {
    let project = TestProject::new();
    let id = project.run(&project.record("web", "echo out; echo err >&2; printf unfinished; exit 3"));
    assert_eq!(project.ok(Call::NextExit(id.clone())), serde_json::json!([3, true]));
    let log = project.log(&id);
    assert!(log.contains("out\n") && log.contains("err\n") && log.contains("unfinished"), "{log}");
    assert_eq!(log.len(), "out\nerr\nunfinished".len());
    let Status::Exited { exit, started: Some(started), finished } = project.state(&id).status else { panic!() };
    assert_eq!(exit, ExitStatus::Code(3));
    assert!(started <= finished);
    project.finish(&[&id]);
}

fn stop_is_graceful_then_deadly() {
    let project = TestProject::new();
    let polite = project
        .run(&project.record("polite", "trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 0.05; done"));
    let deaf = project.run(&project.record("deaf", "trap '' TERM; echo ready; while true; do sleep 1; done"));
    for id in [&polite, &deaf] {
        eventually("ready", || project.log(id).contains("ready"));
    }
    let begin = std::time::Instant::now();
    project.ok(Call::Stop(vec![polite.clone()], None));
    assert!(begin.elapsed().as_millis() < 5000, "{:?}", begin.elapsed());
    assert!(project.log(&polite).contains("bye"));
    assert!(matches!(project.state(&polite).status, Status::Exited { exit: ExitStatus::Code(7), .. }));
    project.ok(Call::Stop(vec![deaf.clone()], Some(100)));
    assert!(matches!(project.state(&deaf).status, Status::Exited { exit: ExitStatus::Signal(9), .. }));
    assert!(project.state(&deaf).stopped_by_user);
    // Once more is no fault, and it starts again.
    project.ok(Call::Stop(vec![deaf.clone()], Some(100)));
    project.ok(Call::Start(vec![deaf.clone()]));
    assert!(!project.state(&deaf).stopped_by_user);
    project.finish(&[&polite, &deaf]);
}

fn a_program_that_is_missing_leaves_nothing() {
    let project = TestProject::new();
    let mut record = project.record("web", "");
    record.spec.process.args = vec!["/no/such/program".into()];
    project.ok(Call::Network(Box::new(project.network())));
    record.endpoints = vec![project.endpoint("web")];
    project.ok(Call::Create(Box::new(record.clone())));
    let error = project.call(Call::Start(vec![record.id.clone()])).unwrap_err();
    assert!(error.contains("/no/such/program"), "{error}");
    let state = project.state(&record.id);
    assert_eq!(state.status, Status::Created);
    assert!(state.error.is_some_and(|error| error.contains("/no/such/program")));
    assert!(state.endpoints.is_empty());
    let failure = project.call(Call::Wait(record.id.clone(), Condition::ServiceHealthy)).unwrap_err();
    assert!(failure.contains("healthcheck"), "{failure}");
    project.finish(&[&record.id]);
}

fn policies_bring_containers_back() {
    let project = TestProject::new();
    let mut always = project.record("always", "echo run; exit 0");
    always.restart = RestartPolicy::Always;
    let always = project.run(&always);
    let mut failing = project.record("failing", "echo run; exit 1");
    failing.restart = RestartPolicy::OnFailure { max_retries: Some(2) };
    let failing = project.run(&failing);
    assert_eq!(project.ok(Call::WaitExit(failing.clone())), 1);
    assert_eq!(project.log(&failing), "run\n".repeat(3));
    assert_eq!(project.state(&failing).restarts, 2);
    eventually("it is started again", || project.log(&always).matches("run").count() >= 3);
    project.ok(Call::Stop(vec![always.clone()], None));
    assert!(matches!(project.state(&always).status, Status::Exited { .. }));
    let runs = project.log(&always).matches("run").count();
    project.ok(Call::Nothing);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(project.log(&always).matches("run").count(), runs, "a stopped container came back");
    project.finish(&[&always, &failing]);
}

fn conditions_are_met_or_say_why_not() {
    let project = TestProject::new();
    let good = project.run(&project.record("good", "sleep 0.2; exit 0"));
    let bad = project.run(&project.record("bad", "echo the database is on fire; exit 4"));
    project.ok(Call::Wait(good.clone(), Condition::ServiceCompletedSuccessfully));
    let failure = project.call(Call::Wait(bad.clone(), Condition::ServiceCompletedSuccessfully)).unwrap_err();
    assert!(failure.contains("container shop-bad-1 exited (4)"), "{failure}");
    assert!(failure.contains("the database is on fire"), "{failure}");
    project.ok(Call::Wait(bad.clone(), Condition::ServiceStarted));
    project.finish(&[&good, &bad]);
}

fn exec(args: &[&str]) -> Box<ExecSpec> {
    Box::new(ExecSpec {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["COLOUR=red".into()],
        cwd: Some("/tmp".into()),
        user: None,
        tty: false,
        size: TerminalSize::default(),
        privileged: false,
    })
}

fn hook(command: &str) -> Hook {
    Hook {
        command: vec!["/bin/sh".into(), "-c".into(), command.into()],
        user: None,
        privileged: false,
        working_dir: None,
        environment: vec!["WHO=hook".into()],
    }
}

fn hooks_and_exec() {
    let project = TestProject::new();
    let mut record = project.record("web", "trap 'cat /tmp/hooks; exit 0' TERM; while true; do sleep 0.05; done");
    record.post_start = vec![hook("echo $WHO started >> /tmp/hooks")];
    record.pre_stop = vec![hook("echo $WHO stops >> /tmp/hooks")];
    let id = project.run(&record);
    let call = Call::Exec(id.clone(), exec(&["/bin/sh", "-c", "echo $COLOUR $(cat /tmp/hooks); exit 5"]));
    assert_eq!(project.call(call).unwrap(), serde_json::json!([5, "red hook started\n"]));
    let call = Call::Exec(id.clone(), exec(&["nothing-like-this"]));
    let error = project.call(call).unwrap_err();
    assert!(error.contains("nothing-like-this"), "{error}");
    project.ok(Call::Stop(vec![id.clone()], None));
    assert_eq!(project.log(&id), "hook started\nhook stops\n");
    let mut failing = project.record("failing", "while true; do sleep 1; done");
    failing.post_start = vec![hook("echo broken hook; exit 9")];
    project.ok(Call::Create(Box::new(failing.clone())));
    let error = project.call(Call::Start(vec![failing.id.clone()])).unwrap_err();
    assert!(error.contains("broken hook") && error.contains('9'), "{error}");
    project.finish(&[&id, &failing.id]);
}

fn much_output_is_all_there() {
    let project = TestProject::new();
    let id = project.run(&project.record("web", "seq 1 200000; printf end"));
    project.ok(Call::WaitExit(id.clone()));
    let log = project.log(&id);
    let mut lines = log.lines();
    for number in 1..=200_000 {
        assert_eq!(lines.next(), Some(number.to_string().as_str()));
    }
    assert_eq!(lines.next(), Some("end"));
    project.finish(&[&id]);
}

fn secrets_volumes_and_etc() {
    let project = TestProject::new();
    let script =
        "cat /run/secrets/key; cat /etc/hostname; cat /etc/hosts; echo kept > /keep/file; ls -ld /run/secrets/key";
    let mut record = project.record("web", script);
    record.spec.hostname = "shopfront".into();
    record.extra_hosts = vec![("db.example".into(), "192.0.2.7".into())];
    record.files = vec![InjectedFile {
        target: "/run/secrets/key".into(),
        content: b"hush\n".to_vec(),
        source: None,
        uid: Some(12),
        gid: Some(13),
        mode: 0o440,
    }];
    record.volumes = vec![VolumeUse {
        volume: "0123456789abcdef".into(),
        target: "/keep".into(),
        anonymous: true,
        no_copy: false,
        of_image: false,
    }];
    let data = project.paths.volumes().join("0123456789abcdef/_data");
    record.spec.mounts = vec![windlass::runtime::spec::Mount {
        target: "/keep".into(),
        kind: windlass::runtime::spec::MountKind::Bind {
            source: data.clone(),
            subpath: None,
            read_only: false,
            recursive: true,
            propagation: Default::default(),
        },
    }];
    let id = project.run(&record);
    assert_eq!(project.ok(Call::WaitExit(id.clone())), 0);
    let log = project.log(&id);
    assert!(log.starts_with("hush\nshopfront\n127.0.0.1\tlocalhost"), "{log}");
    assert!(log.contains("192.0.2.7\tdb.example"), "{log}");
    assert!(log.contains("-r--r-----    1 12       13"), "{log}");
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "kept\n");
    project.ok(Call::Remove(vec![id.clone()], true));
    assert!(!data.exists());
    project.finish(&[]);
}

fn pause_and_stop() {
    let project = TestProject::new();
    let id = project.run(&project.record("web", "trap 'exit 0' TERM; while true; do echo tick; sleep 0.02; done"));
    eventually("it ticks", || project.log(&id).contains("tick"));
    project.ok(Call::Pause(id.clone()));
    assert!(matches!(project.state(&id).status, Status::Running { paused: true, .. }));
    project.ok(Call::Nothing);
    let ticks = project.log(&id).len();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(project.log(&id).len(), ticks);
    project.ok(Call::Unpause(id.clone()));
    eventually("it ticks again", || project.log(&id).len() > ticks);
    project.ok(Call::Pause(id.clone()));
    project.ok(Call::Stop(vec![id.clone()], None));
    assert!(matches!(project.state(&id).status, Status::Exited { exit: ExitStatus::Code(0), .. }));
    project.finish(&[&id]);
}

fn a_terminal() {
    let project = TestProject::new();
    let mut record = project.record("web", "test -t 0 && test -t 1 && echo terminal; exit 2");
    record.spec.process.tty = true;
    let id = project.run(&record);
    assert_eq!(project.ok(Call::WaitExit(id.clone())), 2);
    assert_eq!(project.log(&id), "terminal\r\n");
    project.finish(&[&id]);
}
