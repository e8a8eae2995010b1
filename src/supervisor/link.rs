//! The supervisor's end of the line to its keeper.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::keeper;
use crate::keeper::descriptors::{HeldProcess, StartBrings, pack_pipes};
use crate::keeper::protocol::{self, KeeperEvent, KeeperRequest, StartError};
use crate::record::signal;
use crate::runtime::spec::{ContainerId, ContainerSpec, ExecSpec, ExitStatus};
use crate::runtime::{Descriptors, OtherEnds, Pipes};
use crate::state::process;
use crate::state::stuck::{LOOK, Stuck, Watch};
use crate::sys::{descriptors, readiness};

/// A keeper is asked whether it is well every so many looks.
const ASKED_EVERY: u32 = 6;
/// It answers at once; a machine that has no memory left may need this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A container whose program has been executed.
#[derive(Debug)]
pub(super) struct Started {
    pub pid: i32,
    pub start_time: u64,
    pub warnings: Vec<String>,
    pub process: HeldProcess,
}

/// A further process in a container.
#[derive(Debug)]
pub struct Exec {
    pub pid: i32,
    /// Names the process even when its number is used again.
    pub pidfd: OwnedFd,
    /// The master of its terminal, when it has one.
    pub terminal: Option<OwnedFd>,
    exit: oneshot::Receiver<ExitStatus>,
    link: Rc<Link>,
}

impl Exec {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it has ended and the keeper, which would tell how, stands still.
    pub async fn wait(&mut self) -> Result<ExitStatus, Stuck> {
        loop {
            tokio::select! {
                exit = &mut self.exit => return Ok(exit.unwrap_or(ExitStatus::Unknown)),
                stuck = self.link.stuck() => if has_ended(self.pid) {
                    return Err(stuck);
                },
            }
        }
    }
}

enum Answer {
    Started(Started),
    Exec(i32, HeldProcess),
    CaughtUp,
}

type Answered = oneshot::Sender<Result<Answer, StartError>>;
type Waiting = oneshot::Receiver<Result<Answer, StartError>>;

pub struct Link {
    /// The keeper's process.
    keeper: i32,
    socket: AsyncFd<OwnedFd>,
    next: Cell<u64>,
    asked: RefCell<HashMap<u64, Answered>>,
    execs: RefCell<HashMap<String, oneshot::Sender<ExitStatus>>>,
    outbox: RefCell<VecDeque<(KeeperRequest, Vec<OwnedFd>)>>,
    flushing: Cell<bool>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    pub fn new(socket: OwnedFd) -> io::Result<Rc<Self>> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Rc::new(Self {
            keeper: nix::unistd::getppid().as_raw(),
            socket: readiness::register(socket, Interest::READABLE | Interest::WRITABLE)?,
            next: Cell::new(1),
            asked: RefCell::default(),
            execs: RefCell::default(),
            outbox: RefCell::default(),
            flushing: Cell::new(false),
        }))
    }

    /// The next thing that the keeper says of its own accord; answers go to whoever asked. `None`: it has died.
    pub async fn next(self: &Rc<Self>) -> io::Result<Option<(KeeperEvent, Vec<OwnedFd>)>> {
        loop {
            let received =
                self.socket.async_io(Interest::READABLE, |socket| protocol::recv::<KeeperEvent>(socket.as_fd())).await;
            let received = match received {
                Err(error) => match protocol::stripped(&error) {
                    Some(event) => {
                        self.stripped(event);
                        continue;
                    }
                    None => return Err(error),
                },
                Ok(received) => received,
            };
            let Some((event, fds)) = received else {
                // Whoever waits for an answer must not wait for ever.
                self.asked.borrow_mut().clear();
                self.execs.borrow_mut().clear();
                return Ok(None);
            };
            match event {
                KeeperEvent::Started { seq, container, pid, start_time, brings, warnings } => {
                    let ended = KeeperRequest::Kill { container, exec: None };
                    let answer = |process| Answer::Started(Started { pid, start_time, warnings, process });
                    self.has_started(seq, brings.unpack(fds), answer, ended);
                }
                KeeperEvent::ExecStarted { seq, exec, pid, brings } => {
                    let ended = KeeperRequest::Kill { container: ContainerId::new(), exec: Some(exec) };
                    self.has_started(seq, brings.unpack(fds), |process| Answer::Exec(pid, process), ended);
                }
                KeeperEvent::Failed { seq, error } => self.answer(seq, Err(error)),
                KeeperEvent::CaughtUp { seq } => self.answer(seq, Ok(Answer::CaughtUp)),
                KeeperEvent::Unknown { seq } => self.answer(seq, Err(unanswered("the keeper's answer was lost"))),
                KeeperEvent::ExecExited { exec, status } => {
                    if let Some(waiting) = self.execs.borrow_mut().remove(&exec) {
                        let _ = waiting.send(status);
                    }
                }
                other => return Ok(Some((other, fds))),
            }
        }
    }

    /// Answers whoever waits for a start. What nobody waits for any more, or could follow, is `ended`.
    fn has_started(
        self: &Rc<Self>,
        seq: u64,
        process: io::Result<HeldProcess>,
        answer: impl FnOnce(HeldProcess) -> Answer,
        ended: KeeperRequest,
    ) {
        match process {
            Ok(process) if self.asked.borrow().contains_key(&seq) => self.answer(seq, Ok(answer(process))),
            Ok(HeldProcess { pidfd: Some(pidfd), .. }) => drop(signal::send(&pidfd, nix::libc::SIGKILL)),
            Ok(_) => self.tell(ended, Vec::new()),
            Err(error) => {
                self.tell(ended, Vec::new());
                self.answer(seq, Err(StartError::io("start", &error)));
            }
        }
    }

    /// An event whose descriptors could not be received. Whoever waits for it is told so, and what was started is ended:
    /// nobody could have followed it.
    fn stripped(self: &Rc<Self>, event: KeeperEvent) {
        descriptors::release_reserve();
        let error = || StartError {
            step: "start".to_owned(),
            detail: "the supervisor of the project has no descriptor left".to_owned(),
            errno: None,
            exit_code: 125,
        };
        match event {
            KeeperEvent::Started { seq, container, .. } => {
                self.tell(KeeperRequest::Kill { container, exec: None }, Vec::new());
                self.answer(seq, Err(error()));
            }
            KeeperEvent::ExecStarted { seq, exec, .. } => {
                self.tell(KeeperRequest::Kill { container: ContainerId::new(), exec: Some(exec) }, Vec::new());
                self.answer(seq, Err(error()));
            }
            other => tracing::error!(?other, "the descriptors that came with it are lost"),
        }
    }

    fn answer(&self, seq: u64, answer: Result<Answer, StartError>) {
        if let Some(asked) = self.asked.borrow_mut().remove(&seq) {
            let _ = asked.send(answer);
        }
    }

    fn ask(&self) -> (u64, Waiting) {
        let seq = self.next.get();
        self.next.set(seq + 1);
        let (sender, receiver) = oneshot::channel();
        self.asked.borrow_mut().insert(seq, sender);
        (seq, receiver)
    }

    /// Starts a container; its streams are its own named pipes unless there are others.
    pub(super) async fn start(
        self: &Rc<Self>,
        spec: ContainerSpec,
        pipes: PathBuf,
        exit_record: PathBuf,
        network: Option<OwnedFd>,
        streams: Option<Pipes>,
    ) -> Result<Started, StartError> {
        let (seq, answer) = self.ask();
        let (brings, fds) = StartBrings::pack(Descriptors { network, streams });
        self.tell(KeeperRequest::Start { seq, brings, spec: Box::new(spec), pipes, exit_record }, fds);
        match self.answered(seq, answer).await? {
            Answer::Started(started) => Ok(started),
            _ => Err(lost()),
        }
    }

    /// Starts a further process in a container, on these streams unless it has a terminal.
    pub(super) async fn exec(
        self: &Rc<Self>,
        container: ContainerId,
        spec: ExecSpec,
        streams: Pipes,
    ) -> Result<Exec, StartError> {
        let (seq, answer) = self.ask();
        let exec = format!("{container}-{seq}");
        let (ended, exit) = oneshot::channel();
        self.execs.borrow_mut().insert(exec.clone(), ended);
        let (piped, fds) = pack_pipes(streams);
        self.tell(KeeperRequest::Exec { seq, exec: exec.clone(), container, spec: Box::new(spec), piped }, fds);
        match self.answered(seq, answer).await {
            Ok(Answer::Exec(pid, HeldProcess { pidfd: Some(pidfd), ends })) => {
                let terminal = if let OtherEnds::Terminal(master) = ends { Some(master) } else { None };
                Ok(Exec { pid, pidfd, terminal, exit, link: Rc::clone(self) })
            }
            Ok(_) => Err(lost()),
            Err(error) => {
                self.execs.borrow_mut().remove(&exec);
                Err(error)
            }
        }
    }

    /// Returns when the keeper has done all that it was told until now.
    pub async fn caught_up(self: &Rc<Self>) {
        let (seq, answer) = self.ask();
        self.tell(KeeperRequest::CatchUp { seq }, Vec::new());
        if let Err(error) = self.answered(seq, answer).await {
            tracing::warn!("{error}");
        }
    }

    /// Waits for an answer for as long as there is one to come: not when the keeper stands still, and not when it knows
    /// nothing of the request any more.
    async fn answered(self: &Rc<Self>, seq: u64, mut answer: Waiting) -> Result<Answer, StartError> {
        let stuck = self.stuck();
        tokio::pin!(stuck);
        loop {
            tokio::select! {
                answer = &mut answer => return answer.map_err(|_| lost()).and_then(|answer| answer),
                stuck = &mut stuck => {
                    self.asked.borrow_mut().remove(&seq);
                    return Err(unanswered(&stuck.to_string()));
                }
                () = tokio::time::sleep(LOOK) => self.tell(KeeperRequest::Ask { seq }, Vec::new()),
            }
        }
    }

    /// Returns when the keeper has been standing still for some time, or does not answer though it is not stopped.
    pub(super) async fn stuck(self: &Rc<Self>) -> Stuck {
        let mut watch = Watch::of(self.keeper);
        for look in 1_u32.. {
            if let Some(stuck) = watch.look(keeper::CALLED) {
                return stuck;
            }
            tokio::time::sleep(LOOK).await;
            if look.is_multiple_of(ASKED_EVERY) && !self.answers(PATIENCE).await {
                break;
            }
        }
        watch.silent(keeper::CALLED)
    }

    /// Whether the keeper says in time that it has come to a question; one that has died is not waited for.
    async fn answers(self: &Rc<Self>, patience: Duration) -> bool {
        let (seq, answer) = self.ask();
        self.tell(KeeperRequest::CatchUp { seq }, Vec::new());
        let answered = tokio::time::timeout(patience, answer).await.is_ok();
        self.asked.borrow_mut().remove(&seq);
        answered
    }

    /// Says something that has no answer. Never waits; the order is kept.
    pub fn tell(self: &Rc<Self>, request: KeeperRequest, fds: Vec<OwnedFd>) {
        if !self.flushing.get() {
            match self.try_send(&request, &fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // That it has died is noticed where it is listened to.
                _ => return,
            }
        }
        self.outbox.borrow_mut().push_back((request, fds));
        if !self.flushing.replace(true) {
            let link = Rc::clone(self);
            tokio::task::spawn_local(async move { link.flush().await });
        }
    }

    fn try_send(&self, request: &KeeperRequest, fds: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        protocol::send(self.socket.get_ref(), request, &fds)
    }

    async fn flush(&self) {
        loop {
            let Some((request, fds)) = self.outbox.borrow_mut().pop_front() else { break };
            let sent = self.socket.async_io(Interest::WRITABLE, |_| self.try_send(&request, &fds)).await;
            if sent.is_err() {
                self.outbox.borrow_mut().clear();
            }
        }
        self.flushing.set(false);
    }
}

/// Also while nobody has waited for it.
fn has_ended(pid: i32) -> bool {
    matches!(process::state(pid), None | Some('Z' | 'X'))
}

fn lost() -> StartError {
    unanswered("the keeper of the project has died")
}

fn unanswered(detail: &str) -> StartError {
    StartError { step: "start".to_owned(), detail: detail.to_owned(), errno: None, exit_code: 125 }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// What hangs is not stopped, and no look at its process tells it.
    #[test]
    fn a_keeper_that_hangs_is_noticed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let flags = SocketFlags::CLOEXEC;
            let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
            let link = Link::new(ours).unwrap();
            assert!(!link.answers(Duration::from_millis(50)).await, "nobody answers");
            assert!(link.asked.borrow().is_empty(), "and nothing is left of the question");
            let keeper = std::thread::spawn(move || {
                loop {
                    match protocol::recv::<KeeperRequest>(theirs.as_fd()).unwrap().unwrap().0 {
                        KeeperRequest::CatchUp { seq } if seq > 1 => {
                            return protocol::send(&theirs, &KeeperEvent::CaughtUp { seq }, &[]).unwrap();
                        }
                        _ => {}
                    }
                }
            });
            let listening = Rc::clone(&link);
            tokio::task::spawn_local(async move { while let Ok(Some(_)) = listening.next().await {} });
            assert!(link.answers(Duration::from_secs(60)).await, "it does");
            keeper.join().unwrap();
        });
    }
}
