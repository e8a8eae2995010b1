use windlass::record::*;
use windlass::runtime::spec::ExitStatus;

use crate::engine::Call;
use crate::network::{fetch, port, published, server};
use crate::project::{TestProject, alive, eventually, kill};

pub const TESTS: &[(&str, fn())] = &[
    ("survival::a_killed_supervisor_costs_nothing", a_killed_supervisor_costs_nothing),
    ("survival::an_exit_without_a_supervisor_is_known_afterwards", an_exit_without_a_supervisor_is_known_afterwards),
    ("survival::a_killed_keeper_is_replaced", a_killed_keeper_is_replaced),
    ("survival::everything_killed_is_put_right", everything_killed_is_put_right),
];

fn pid_of(project: &TestProject, id: &str) -> i32 {
    match project.state(id).status {
        Status::Running { pid, .. } => pid,
        other => panic!("{other:?}"),
    }
}

fn wait_for_supervisor(project: &TestProject, old: i32) {
    eventually("a new supervisor answers", || project.supervisor_pid() != old && project.call(Call::Nothing).is_ok());
}

fn a_killed_supervisor_costs_nothing() {
    let project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let mut web = server(&project, "web");
    web.ports = vec![port(80, None)];
    web.health = Some(HealthSpec {
        test: HealthTest::Shell("wget -q -O /dev/null http://127.0.0.1/".into()),
        interval_ms: 1000,
        timeout_ms: 1000,
        start_period_ms: 0,
        start_interval_ms: 0,
        retries: 3,
    });
    let web = project.run(&web);
    let counter = project.run(&project.record("counter", "for i in $(seq 1 400); do echo line $i; sleep 0.005; done"));
    let number = published(&project, &web);
    project.ok(Call::Wait(web.clone(), Condition::ServiceHealthy));
    let pid = pid_of(&project, &web);
    for _ in 0..3 {
        let old = project.supervisor_pid();
        kill(old);
        let begin = std::time::Instant::now();
        wait_for_supervisor(&project, old);
        assert!(fetch(number).is_some(), "the published port does not answer");
        println!("    back after {:?}", begin.elapsed());
    }
    assert_eq!(pid_of(&project, &web), pid);
    assert_eq!(project.ok(Call::WaitExit(counter.clone())), 0);
    let expected: String = (1..=400).map(|number| format!("line {number}\n")).collect();
    assert_eq!(project.log(&counter), expected);
    let mut client = project.record("client", "wget -q -O - http://web/");
    client.endpoints = vec![project.endpoint("client")];
    let client = project.run(&client);
    assert_eq!(project.ok(Call::WaitExit(client.clone())), 0, "{}", project.log(&client));
    let Status::Running { health: Some(health), .. } = project.state(&web).status else { panic!() };
    assert_eq!(health.status, HealthStatus::Healthy);
    project.finish(&[&web, &counter, &client]);
}

fn an_exit_without_a_supervisor_is_known_afterwards() {
    let project = TestProject::new();
    let mut short = project.record("short", "sleep 0.3; echo last words; exit 6");
    short.restart = RestartPolicy::No;
    let short = project.run(&short);
    let mut again = project.record("again", "echo run; sleep 0.3; exit 1");
    again.restart = RestartPolicy::OnFailure { max_retries: Some(1) };
    let again = project.run(&again);
    let old = project.supervisor_pid();
    // Stopped first, so that the keeper does not bring a new one too early; killed when both have ended.
    let stop = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(old), signal).unwrap();
    stop(nix::sys::signal::Signal::SIGSTOP);
    let pids = [pid_of(&project, &short), pid_of(&project, &again)];
    eventually("both end", || pids.iter().all(|pid| !alive(*pid)));
    kill(old);
    wait_for_supervisor(&project, old);
    assert_eq!(project.ok(Call::WaitExit(short.clone())), 6);
    assert_eq!(project.log(&short), "last words\n");
    assert_eq!(project.ok(Call::WaitExit(again.clone())), 1);
    assert_eq!(project.log(&again), "run\nrun\n");
    project.finish(&[&short, &again]);
}

fn a_killed_keeper_is_replaced() {
    let project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let mut web = server(&project, "web");
    web.ports = vec![port(80, None)];
    let web = project.run(&web);
    let counter =
        project.run(&project.record("counter", "for i in $(seq 1 200); do echo line $i; sleep 0.01; done; exit 3"));
    let number = published(&project, &web);
    let (pid, keeper, supervisor) = (pid_of(&project, &web), project.keeper_pid(), project.supervisor_pid());
    kill(keeper);
    eventually("a new keeper has a supervisor", || {
        windlass::keeper::find(&project.project).ok().flatten().is_some_and(|found| found.pid != keeper)
            && project.supervisor_pid() != supervisor
            && project.supervisor_pid() != 0
            && project.call(Call::Nothing).is_ok()
    });
    eventually("the old supervisor ends", || !alive(supervisor));
    eventually("the published port answers", || fetch(number).is_some());
    assert_eq!(pid_of(&project, &web), pid);
    let code = project.ok(Call::WaitExit(counter.clone()));
    // Whether the kernel tells the code of a process that is not ours depends on its version.
    assert!(code == 3 || code == 255, "{code}");
    let expected: String = (1..=200).map(|number| format!("line {number}\n")).collect();
    assert_eq!(project.log(&counter), expected);
    project.finish(&[&web, &counter]);
}

fn everything_killed_is_put_right() {
    let mut project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let mut web = server(&project, "web");
    web.ports = vec![port(80, None)];
    let web = project.run(&web);
    let dead = project.run(&project.record("dead", "while true; do sleep 1; done"));
    let number = published(&project, &web);
    let (web_pid, dead_pid) = (pid_of(&project, &web), pid_of(&project, &dead));
    let (keeper, supervisor) = (project.keeper_pid(), project.supervisor_pid());
    let stop =
        |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGSTOP).unwrap();
    stop(keeper);
    stop(supervisor);
    kill(keeper);
    kill(supervisor);
    kill(dead_pid);
    eventually("all are gone", || [keeper, supervisor, dead_pid].iter().all(|pid| !alive(*pid)));
    assert!(alive(web_pid));
    project.spawn();
    eventually("the published port answers", || fetch(number).is_some());
    assert_eq!(pid_of(&project, &web), web_pid);
    project.ok(Call::WaitExit(dead.clone()));
    let Status::Exited { exit, .. } = project.state(&dead).status else { panic!() };
    assert!(matches!(exit, ExitStatus::Unknown | ExitStatus::Signal(9)), "{exit:?}");
    project.finish(&[&web, &dead]);
}
