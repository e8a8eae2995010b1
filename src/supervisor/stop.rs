//! Stopping, killing, pausing, and what follows when a container ends.
//!
//! A stop is: thaw it if it is paused (a frozen process hears no signal), run the `pre_stop` hooks, send the stop
//! signal, wait for the end for as long as the grace period says, kill. The grace period begins after the hooks. The
//! end itself is not seen here: the keeper tells of it ([`Project::exited`]), and a stop returns when the state on disk
//! says so. Whoever returned at the signal, or at the pidfd, would leave the next step (remove, start again) to race
//! with the end.
//!
//! Asked again while it stops, the shorter time counts, and a stop that is asked for with no time at all does not wait
//! for hooks either. A stop can only become shorter.
//!
//! Why it is stopped decides what follows (`Purpose`). A person's stop is noted (`stopped_by_user`) before the signal
//! is sent: if the supervisor dies in between, the next one must not bring the container back. A stop for a restart
//! keeps the network, so that the address stays, and ends in `Restarting`: nobody who waits for the container takes
//! that for its end. An unhealthy one goes by its policy.
//!
//! What follows an end has an order (`finish_exit`, `decide_restart`): all that it wrote goes into the log; then, if it
//! stays down, its ports and names are given back; then the state is written; then the keeper may forget it; then it is
//! told. So whoever hears of an end finds the last line in the log and the port free. An end that comes while its start
//! is still being noted waits for that (`early_exit`), else the note of the start would come after that of the end, for
//! ever.
//!
//! From the stop signal on nothing waits without end: after `SIGKILL` ten seconds are enough unless the process hangs in
//! the kernel, which is told; and a keeper that stands still is named ([`Project::keeper_stuck`]), since without it no
//! end is ever told. Hooks have no limit of their own: how long they need, the file's author knows.

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::container::{Container, Exit, Purpose, Stopping};
use super::error::SupervisorError;
use super::project::Project;
use super::reload::is_deaf;
use crate::keeper::protocol::KeeperRequest;
use crate::record::event::What;
use crate::record::{ContainerState, Status, signal};
use crate::runtime::spec::{ExitStatus, Namespace};
use crate::state::process;
use crate::state::stuck::Stuck;
use crate::sys::pidfd;

const SIGKILL: i32 = nix::libc::SIGKILL;
/// The kernel needs this long at most to end a killed process that does not hang in it.
const AFTER_KILL: Duration = Duration::from_secs(10);
/// A program that ends on the container's own stop signal has most often done so after this long.
const AFTER_SIGNAL: Duration = Duration::from_secs(1);

impl Project {
    /// Stops a container: hooks, stop signal, grace period, kill. `timeout` replaces its grace period. Asked again
    /// while it stops, the shorter time counts.
    ///
    /// # Errors
    /// When it cannot be stopped, or (it is stopped then) when a `pre_stop` hook failed.
    pub async fn stop(&self, id: &str, timeout: Option<Duration>) -> Result<(), SupervisorError> {
        self.bring_to_stop(id, timeout, Purpose::Stop).await
    }

    /// Stops a container that the caller starts again, or gives up (see [`Project::give_up_restart`]): it keeps its
    /// network meanwhile, and nobody who waits for it takes this for its end.
    ///
    /// # Errors
    /// As [`Project::stop`].
    pub async fn stop_to_restart(&self, id: &str, timeout: Option<Duration>) -> Result<(), SupervisorError> {
        self.bring_to_stop(id, timeout, Purpose::Restart).await
    }

    /// A container that was stopped to be restarted, and will not be, has ended.
    pub async fn give_up_restart(&self, id: &str) {
        let Ok(container) = self.find(id) else { return };
        let _turn = container.turn.lock().await;
        let waits = matches!(container.state().status, Status::Restarting { .. });
        if waits && container.live.borrow().restart_timer.is_none() {
            self.end_restarts(&container).await;
        }
        self.look_again();
    }

    async fn bring_to_stop(
        &self,
        id: &str,
        timeout: Option<Duration>,
        purpose: Purpose,
    ) -> Result<(), SupervisorError> {
        let container = self.find(id)?;
        let timeout = timeout.unwrap_or(Duration::from_millis(container.record.stop_grace_ms));
        let under_way = container.live.borrow().stopping.clone();
        if let Some(stopping) = under_way {
            if stopping.purpose.get() == Purpose::Unhealthy {
                stopping.purpose.set(purpose);
            }
            stopping.shorten(timeout);
            // One that is to be started again is stopped for good once that is done.
            if stopping.purpose.get() != Purpose::Restart || purpose != Purpose::Stop {
                // Whoever stops it may give up; then it is for the next.
                tokio::select! {
                    () = self.ended(&container) => return Ok(()),
                    _ = container.turn.lock() => {}
                }
                if !container.is_running() {
                    return Ok(());
                }
            }
        }
        let stopping = Stopping::new(timeout, purpose);
        let _turn = container.turn.lock().await;
        match purpose {
            Purpose::Stop => {
                if !container.is_running() {
                    self.end_restarts(&container).await;
                }
                container.cancel_restart();
                container.update(|state| state.stopped_by_user = true);
            }
            Purpose::Restart => container.cancel_restart(),
            Purpose::Unhealthy if !container.is_unhealthy() => return Ok(()),
            Purpose::Unhealthy => {}
        }
        if !container.is_running() {
            return Ok(());
        }
        container.live.borrow_mut().stopping = Some(Rc::clone(&stopping));
        let result = self.stop_process(&container, &stopping).await;
        container.live.borrow_mut().stopping = None;
        if result.is_ok() {
            self.emit(&container, What::Stopped);
        }
        result
    }

    /// Ends a container that is unhealthy and wants to be restarted then.
    pub(super) async fn end_unhealthy(&self, container: &Rc<Container>) {
        if let Err(error) = self.bring_to_stop(container.id(), None, Purpose::Unhealthy).await {
            tracing::warn!(container = %container.record.name, "it is unhealthy, and ending it: {}", error.for_messages());
        }
    }

    pub(super) async fn stop_process(
        &self,
        container: &Rc<Container>,
        stopping: &Stopping,
    ) -> Result<(), SupervisorError> {
        if container.is_paused() {
            self.thaw(container).await?;
        }
        let hooks = tokio::select! {
            result = self.run_hooks(container, "pre_stop", &container.record.pre_stop, None) => result,
            () = self.ended(container) => Ok(()),
            () = stopping.hurried() => Ok(()),
        };
        let number = signal::parse(&container.record.stop_signal).unwrap_or(nix::libc::SIGTERM);
        self.signal(container, number)?;
        self.emit(container, What::Killed { signal: number });
        tokio::select! {
            () = self.ended(container) => {}
            // The grace period begins when the hooks are done.
            () = stopping.over(Instant::now()) => self.kill_all_of(container).await?,
            // It is the keeper that tells of ends.
            stuck = self.inner.link.stuck() => return Err(stuck.into()),
        }
        hooks
    }

    /// Kills the container's process, and every other one in its control group where that is not implied.
    pub(super) async fn kill_all_of(&self, container: &Rc<Container>) -> Result<(), SupervisorError> {
        self.signal(container, SIGKILL)?;
        if container.record.spec.namespaces.pid != Namespace::Private {
            let group = self.cgroup(container);
            let _ = tokio::task::spawn_blocking(move || group.kill()).await;
        }
        self.ended_by_kill(container).await
    }

    /// Sends a signal to the container's process. After one that cannot be withstood it returns when the end is
    /// recorded; after the container's stop signal, which a program may take its time over or ignore, it waits a moment
    /// for that.
    ///
    /// # Errors
    /// When there is no such signal, the container does not run, or the kernel cannot end it.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), SupervisorError> {
        let number = signal::parse(signal).ok_or_else(|| SupervisorError::Signal { text: signal.to_owned() })?;
        let container = self.find(id)?;
        let is_stop = number == SIGKILL || signal::parse(&container.record.stop_signal) == Some(number);
        if matches!(container.state().status, Status::Restarting { .. }) && is_stop {
            // Nothing is there to be signalled; a start that is under way is finished first.
            let _turn = container.turn.lock().await;
            if let Status::Restarting { .. } = container.state().status {
                self.end_restarts(&container).await;
                return Ok(());
            }
        }
        if !container.is_running() {
            return Err(SupervisorError::NotRunning { name: container.name() });
        }
        if is_stop {
            // Such a signal from a person is a stop: no policy brings it back.
            container.update(|state| state.stopped_by_user = true);
            if container.is_paused() {
                self.thaw(&container).await?;
            }
        }
        self.signal(&container, number)?;
        self.emit(&container, What::Killed { signal: number });
        if number == SIGKILL {
            return self.ended_by_kill(&container).await;
        }
        if is_stop && !is_deaf(&container) {
            let _ = tokio::time::timeout(AFTER_SIGNAL, self.ended(&container)).await;
        }
        Ok(())
    }

    async fn ended_by_kill(&self, container: &Container) -> Result<(), SupervisorError> {
        tokio::select! {
            () = self.ended(container) => Ok(()),
            stuck = self.inner.link.stuck() => Err(stuck.into()),
            () = tokio::time::sleep(AFTER_KILL) => Err(SupervisorError::Immortal { name: container.name() }),
        }
    }

    /// A container whose turn the caller holds, and which waits to be started again, has ended.
    async fn end_restarts(&self, container: &Rc<Container>) {
        container.cancel_restart();
        self.let_go(container).await;
        container.update(|state| {
            state.stopped_by_user = true;
            if let Status::Restarting { exit, finished } = state.status {
                state.status = Status::Exited { exit, started: None, finished };
            }
        });
    }

    /// Returns when the ends of all processes that are gone by now are recorded.
    pub async fn ends_recorded(&self) {
        for container in self.all() {
            let gone = container.pidfd().is_some_and(|pidfd| pidfd::has_ended(&*pidfd));
            if gone && self.ended_by_kill(&container).await.is_err() {
                tracing::warn!(container = %container.record.name, "its end is not recorded");
            }
        }
    }

    fn signal(&self, container: &Container, number: i32) -> Result<(), SupervisorError> {
        match container.pidfd() {
            Some(pidfd) => signal::send(&*pidfd, number).map_err(SupervisorError::system(format!(
                "send signal {number} to container {}",
                container.record.name
            ))),
            None => Ok(()),
        }
    }

    /// Returns when the keeper has been standing still for some time: no end of a container is told then.
    pub async fn keeper_stuck(&self) -> Stuck {
        self.inner.link.stuck().await
    }

    /// Returns when the process of a container is gone and the keeper, which would tell so, has been standing still for
    /// some time.
    pub async fn end_untold(&self, id: &str) -> Stuck {
        loop {
            let stuck = self.keeper_stuck().await;
            if self.has_vanished(id) {
                return stuck;
            }
        }
    }

    /// Whether the process of a container that is taken to run is gone.
    #[must_use]
    pub fn has_vanished(&self, id: &str) -> bool {
        let Some(view) = self.container(id) else { return true };
        match view.state.status {
            Status::Running { pid, .. } => matches!(process::state(pid), None | Some('Z' | 'X')),
            _ => false,
        }
    }

    /// Returns when the container does not run (any more).
    pub(super) async fn ended(&self, container: &Container) {
        let mut changes = container.watch();
        let ended = |state: &ContainerState| !matches!(state.status, Status::Running { .. });
        let _ = changes.wait_for(ended).await;
    }

    /// Stops every process of a container where it is.
    ///
    /// # Errors
    /// When it does not run or the machine cannot freeze processes.
    pub async fn pause(&self, id: &str) -> Result<(), SupervisorError> {
        let container = self.find(id)?;
        let _turn = container.turn.lock().await;
        if !container.is_running() {
            return Err(SupervisorError::NotRunning { name: container.name() });
        }
        if container.is_paused() {
            return Err(SupervisorError::PausedAlready { name: container.name() });
        }
        // Before the freeze: a probe that is begun after it would hang.
        set_paused(&container, true);
        let group = self.cgroup(&container);
        let frozen =
            tokio::task::spawn_blocking(move || group.freeze()).await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        if let Err(error) = frozen {
            set_paused(&container, false);
            return Err(SupervisorError::system(format!("pause container {}", container.record.name))(error));
        }
        self.emit(&container, What::Paused);
        Ok(())
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When it does not run or the kernel refuses.
    pub async fn unpause(&self, id: &str) -> Result<(), SupervisorError> {
        let container = self.find(id)?;
        let _turn = container.turn.lock().await;
        if !container.is_running() {
            return Err(SupervisorError::NotRunning { name: container.name() });
        }
        if !container.is_paused() {
            return Err(SupervisorError::NotPaused { name: container.name() });
        }
        self.thaw(&container).await
    }

    async fn thaw(&self, container: &Rc<Container>) -> Result<(), SupervisorError> {
        if !container.is_paused() {
            return Ok(());
        }
        let group = self.cgroup(container);
        let thawed =
            tokio::task::spawn_blocking(move || group.thaw()).await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        thawed.map_err(SupervisorError::system(format!("unpause container {}", container.record.name)))?;
        set_paused(container, false);
        self.emit(container, What::Unpaused);
        Ok(())
    }

    /// The keeper says that a container has ended.
    pub(super) fn exited(&self, container: &Rc<Container>, exit: Exit) {
        if container.live.borrow().starting {
            container.live.borrow_mut().early_exit = Some(exit);
            return;
        }
        let (project, container) = (self.clone(), Rc::clone(container));
        tokio::task::spawn_local(async move { project.finish_exit(&container, exit).await });
    }

    async fn finish_exit(&self, container: &Rc<Container>, exit: Exit) {
        let taken = container
            .live
            .borrow_mut()
            .process
            .as_mut()
            .map(|process| (process.output.take(), process.health.take(), process.since));
        // A start that was undone.
        let Some((output, health, since)) = taken else { return self.forget(container) };
        if let Some(health) = health {
            health.abort();
        }
        // All that it wrote is in the log before anybody is told.
        if let Some(output) = output {
            output.finish().await;
        }
        let process = container.live.borrow_mut().process.take();
        let started = process.map(|process| process.started);
        if exit.oom_killed {
            container.update_in_memory(|state| state.oom_killed = true);
        }
        self.decide_restart(container, exit.status, exit.at, since.elapsed(), started).await;
    }

    /// The end of a container is on disk: the keeper need not remember it.
    pub(super) fn forget(&self, container: &Container) {
        self.inner.link.tell(KeeperRequest::Forget { container: container.record.id.clone() }, Vec::new());
    }

    /// A container has ended, or could not be brought back: again, or for good.
    pub(super) async fn decide_restart(
        &self,
        container: &Rc<Container>,
        exit: ExitStatus,
        finished: Timestamp,
        ran: Duration,
        started: Option<Timestamp>,
    ) {
        let purpose = container.live.borrow().stopping.as_ref().map(|stopping| stopping.purpose.get());
        let oom_killed = container.state().oom_killed;
        if purpose == Some(Purpose::Restart) {
            container.update(|state| state.status = Status::Restarting { exit, finished });
            self.forget(container);
            self.emit(container, What::Exited { exit, oom_killed, restart_ms: Some(0) });
            return;
        }
        let by_user = container.state().stopped_by_user;
        let delay = match purpose {
            _ if by_user => None,
            Some(Purpose::Unhealthy) => container.live.borrow_mut().restarts.after_unhealthy(ran),
            Some(_) => None,
            None => container.live.borrow_mut().restarts.after_exit(exit, ran),
        };
        match delay {
            Some(delay) => {
                let restarts = container.live.borrow().restarts.count();
                container.update(|state| {
                    state.restarts = restarts;
                    state.status = Status::Restarting { exit, finished };
                });
                self.forget(container);
                self.restart_after(container, delay);
            }
            None => {
                // Whoever hears of the end finds its ports free.
                self.release_network(container).await;
                container.update(|state| {
                    state.status = Status::Exited { exit, started, finished };
                    state.disconnect();
                });
                self.forget(container);
            }
        }
        let restart_ms = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self.emit(container, What::Exited { exit, oom_killed, restart_ms });
    }
}

fn set_paused(container: &Container, to: bool) {
    container.update(|state| {
        if let Status::Running { paused, .. } = &mut state.status {
            *paused = to;
        }
    });
}
