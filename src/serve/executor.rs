//! Runs a plan: everything that may happen at the same time does. Decides nothing.

use std::future::Future;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;

use crate::plan::{Operation, Plan};

/// Becomes true once an operation has failed or the request was given up; waits should end then.
pub type Cancelled = watch::Receiver<bool>;

/// Runs each operation once everything it waits for is done.
///
/// After a failure nothing new begins. What is under way is finished, so that no object is left half made; an
/// operation that only waits should give up when `cancelled` says so.
///
/// # Errors
/// The first failure.
pub async fn execute<'a, E, F, Fut>(plan: &'a Plan, cancel: &watch::Sender<bool>, run: F) -> Result<(), E>
where
    F: Fn(&'a Operation, Cancelled) -> Fut,
    Fut: Future<Output = Result<(), E>> + 'a,
{
    let count = plan.operations.len();
    let mut missing: Vec<usize> = plan.operations.iter().map(|operation| operation.after.len()).collect();
    let mut waiting_for: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, operation) in plan.operations.iter().enumerate() {
        for &before in &operation.after {
            waiting_for[before].push(index);
        }
    }
    let begin = |index: usize| {
        let future = run(&plan.operations[index], cancel.subscribe());
        async move { (index, future.await) }
    };
    let mut running: FuturesUnordered<_> = (0..count).filter(|&index| missing[index] == 0).map(begin).collect();
    let mut failure: Option<E> = None;
    while let Some((index, result)) = running.next().await {
        match result {
            Ok(()) => {
                for &next in &waiting_for[index] {
                    missing[next] -= 1;
                    if missing[next] == 0 && !*cancel.borrow() {
                        running.push(begin(next));
                    }
                }
            }
            Err(error) => {
                cancel.send_replace(true);
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::sync::Notify;

    use super::*;
    use crate::plan::OperationKind;

    fn plan(edges: &[&[usize]]) -> Plan {
        let mut plan = Plan::default();
        for (index, after) in edges.iter().enumerate() {
            plan.push(OperationKind::CreateNetwork { name: index.to_string() }, "test", after.to_vec());
        }
        plan
    }

    fn name(operation: &Operation) -> String {
        match &operation.kind {
            OperationKind::CreateNetwork { name } => name.clone(),
            other => other.to_string(),
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn independent_operations_run_at_the_same_time_and_dependents_wait() {
        // 0 and 1 can only finish together: each waits for the other to have begun.
        let plan = plan(&[&[], &[], &[0, 1]]);
        let log = Rc::new(RefCell::new(Vec::new()));
        let both = Rc::new((Notify::new(), Notify::new()));
        let result: Result<(), ()> = block_on(execute(&plan, &watch::Sender::new(false), |operation, _| {
            let (log, both, name) = (Rc::clone(&log), Rc::clone(&both), name(operation));
            async move {
                match name.as_str() {
                    "0" => {
                        both.0.notify_one();
                        both.1.notified().await;
                    }
                    "1" => {
                        both.1.notify_one();
                        both.0.notified().await;
                    }
                    _ => {}
                }
                log.borrow_mut().push(name);
                Ok(())
            }
        }));
        assert_eq!(result, Ok(()));
        assert_eq!(log.borrow().len(), 3);
        assert_eq!(log.borrow()[2], "2");
    }

    #[test]
    fn after_a_failure_nothing_begins_and_waits_are_told() {
        let plan = plan(&[&[], &[], &[1], &[]]);
        let log = Rc::new(RefCell::new(Vec::new()));
        let result = block_on(execute(&plan, &watch::Sender::new(false), |operation, mut cancelled| {
            let (log, name) = (Rc::clone(&log), name(operation));
            async move {
                match name.as_str() {
                    "0" => Err("zero"),
                    "3" => cancelled.wait_for(|cancelled| *cancelled).await.map(|_| ()).map_err(|_| "gone"),
                    _ => {
                        tokio::task::yield_now().await;
                        log.borrow_mut().push(name);
                        Ok(())
                    }
                }
            }
        }));
        assert_eq!(result, Err("zero"));
        assert_eq!(*log.borrow(), ["1"]);
    }
}
