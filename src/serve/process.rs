//! The supervisor's process: takes over, serves, and ends when nothing runs any more.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinHandle, LocalSet};

use crate::keeper;
use crate::keeper::protocol::KeeperRequest;
use crate::message::rpc::{Handler, Server};
use crate::state::{Lock, Paths, messages};
use crate::supervisor::{Handover, Link, PARTING, Project, chain};
use crate::sys::{fault, spawn};

/// Without a container that runs and without a client it is not needed. Whoever has just stopped something often starts it
/// again.
const IDLE: Duration = Duration::from_secs(5);
/// Threads for what blocks: the network's and the volumes' work.
const THREADS: usize = 4;

/// The role's entry point; descriptor 3 is the socket to the keeper. `arguments` are data root, run root and project;
/// `engine` makes what answers requests.
pub fn main(
    arguments: impl Iterator<Item = std::ffi::OsString>,
    engine: impl FnOnce(Project) -> Rc<dyn Handler>,
) -> ExitCode {
    let arguments: Vec<_> = arguments.collect();
    let result = match <[std::ffi::OsString; 3]>::try_from(arguments) {
        Ok([data, run, name]) => match name.into_string() {
            Ok(name) => start(Paths::new(PathBuf::from(data), PathBuf::from(run)), &name, engine),
            Err(_) => Err("the project's name is not text".into()),
        },
        Err(_) => Err("three arguments are needed".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The keeper shows the last line to whoever waits for us.
            let _ = writeln!(std::io::stderr(), "{}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

type AnyError = Box<dyn std::error::Error>;

fn start(paths: Paths, name: &str, engine: impl FnOnce(Project) -> Rc<dyn Handler>) -> Result<(), AnyError> {
    messages::collect("supervisor", &paths.project(name).log());
    let socket = spawn::inherited_socket().ok_or("descriptor 3 is not open")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(Duration::from_secs(2))
        .build()?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, run(paths, name, socket, engine));
    // Nothing that is still under way matters any more.
    runtime.shutdown_background();
    result
}

async fn run(
    paths: Paths,
    name: &str,
    socket: OwnedFd,
    engine: impl FnOnce(Project) -> Rc<dyn Handler>,
) -> Result<(), AnyError> {
    let link = Link::new(socket)?;
    let mut handover = Handover::default();
    loop {
        let Some((event, fds)) = link.next().await? else { return Err("the keeper has died".into()) };
        if handover.take(event, fds) {
            break;
        }
    }
    let project = Project::new(paths.clone(), name, Rc::clone(&link))?;
    project.listen();
    project.take_over(handover).await?;
    tokio::task::spawn_local(project.clone().look_after_networks());
    let server = Rc::new(Server::bind(project.project_paths())?);
    let serving = {
        let (server, handler) = (Rc::clone(&server), engine(project.clone()));
        tokio::task::spawn_local(async move { server.serve(handler).await })
    };
    link.tell(KeeperRequest::Serving, Vec::new());
    {
        let (project, server) = (project.clone(), Rc::clone(&server));
        tokio::task::spawn_local(async move {
            loop {
                project.ending().await;
                server.keep_parting(true);
                project.staying().await;
                server.keep_parting(false);
            }
        });
    }
    loop {
        tokio::select! {
            () = idle(&project, &server) => {
                if part(&project, &server, &serving, &link).await {
                    break;
                }
            }
            () = project.keeper_lost() => {
                serving.abort();
                hand_on(&project, &paths, name).await;
                break;
            }
        }
    }
    Ok(())
}

/// Returns when nothing is left to keep alive and nobody is connected: what has ended is on disk for the next one.
async fn idle(project: &Project, server: &Server) {
    let mut connections = server.connections();
    let alone = |count: &usize| *count == 0;
    loop {
        if connections.wait_for(alone).await.is_err() {
            return;
        }
        if project.is_ending() {
            return;
        }
        let pause = async {
            project.at_rest().await;
            tokio::time::sleep(IDLE).await;
        };
        tokio::select! {
            () = pause => return,
            () = project.ending() => {}
            _ = connections.wait_for(|count| *count > 0) => {}
        }
    }
}

/// Ends everything, unless somebody came meanwhile.
async fn part(project: &Project, server: &Server, serving: &JoinHandle<()>, link: &Rc<Link>) -> bool {
    if !project.is_at_rest() {
        project.stay();
        return false;
    }
    // Whoever starts or looks for a keeper holds this lock: they must find us, or nothing.
    let Ok(Some(lock)) = Lock::try_acquire(&project.project_paths().lock()) else {
        tokio::time::sleep(Duration::from_millis(20)).await;
        return false;
    };
    if server.has_waiting() || *server.connections().borrow() > 0 {
        // They are served first.
        tokio::task::yield_now().await;
        return false;
    }
    // Whoever connects from here on gets no hello, and looks for another supervisor once the lock is free.
    serving.abort();
    project.save();
    let run = project.project_paths().run();
    if let Err(error) = fault::around("remove the runtime folder", || std::fs::remove_dir_all(run)) {
        tracing::warn!("cannot remove {}: {error}", run.display());
    }
    // Clients that wait for the end see it when the keeper closes the last copy of their connections.
    link.tell(KeeperRequest::Hold { key: PARTING.to_owned() }, server.parting());
    link.tell(KeeperRequest::Shutdown, Vec::new());
    link.caught_up().await;
    if let Err(error) = lock.remove() {
        tracing::warn!("cannot remove the project's lock: {error}");
    }
    true
}

/// The keeper has died: a new one takes over, with a supervisor of its own, and this one ends.
async fn hand_on(project: &Project, paths: &Paths, name: &str) {
    let Ok(Some(lock)) = Lock::try_acquire(&project.project_paths().lock()) else { return };
    // The next supervisor binds the same sockets and reads the same pipes.
    let _pipes = project.hand_on().await;
    let (paths, name) = (paths.clone(), name.to_owned());
    // It has the terminals still, without which their containers would end.
    let this = keeper::Predecessor::this_supervisor().inspect_err(|error| tracing::error!("{error}")).ok();
    let spawned = tokio::task::spawn_blocking(move || keeper::spawn(&paths, &name, &lock, this.as_ref())).await;
    match spawned {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!("{}", chain(&error)),
        Err(error) => tracing::error!("{error}"),
    }
}
