//! What answers requests in these tests: each is one call of the project's handle.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass::message::rpc::{Connection, Handler};
use windlass::network::spec::NetworkSpec;
use windlass::record::{Condition, ContainerRecord};
use windlass::runtime::spec::ExecSpec;
use windlass::supervisor::{Project, Streams};

#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    Create(Box<ContainerRecord>),
    /// Several at the same time.
    Start(Vec<String>),
    Stop(Vec<String>, Option<u64>),
    Kill(String, String),
    Pause(String),
    Unpause(String),
    Remove(Vec<String>, bool),
    Wait(String, Condition),
    NextExit(String),
    WaitExit(String),
    Network(Box<NetworkSpec>),
    RemoveNetworks(Vec<String>),
    Reserve(Box<ContainerRecord>),
    Exec(String, Box<ExecSpec>),
    State(String),
    Settle,
    Nothing,
}

pub struct TestEngine {
    pub project: Project,
}

fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

impl Handler for TestEngine {
    fn handle(&self, request: Value, connection: Connection) -> Pin<Box<dyn Future<Output = ()>>> {
        let project = self.project.clone();
        Box::pin(async move {
            let call: Call = serde_json::from_value(request).unwrap();
            let answer = match answer(&project, call).await {
                Ok(value) => json!({"ok": value}),
                Err(error) => json!({"error": error}),
            };
            connection.send(&answer, vec![]);
        })
    }
}

async fn answer(project: &Project, call: Call) -> Result<Value, String> {
    let done = |result: Result<(), windlass::supervisor::SupervisorError>| {
        result.map(|()| Value::Null).map_err(|error| text(&error))
    };
    match call {
        Call::Create(record) => done(project.create(*record).await),
        Call::Start(ids) => {
            let starts = ids.iter().map(|id| project.start(id));
            let results = futures_util::future::join_all(starts).await;
            done(results.into_iter().collect())
        }
        Call::Stop(ids, timeout) => {
            let stops = ids.iter().map(|id| project.stop(id, timeout.map(Duration::from_millis)));
            let results = futures_util::future::join_all(stops).await;
            done(results.into_iter().collect())
        }
        Call::Kill(id, signal) => done(project.kill(&id, &signal).await),
        Call::Pause(id) => done(project.pause(&id).await),
        Call::Unpause(id) => done(project.unpause(&id).await),
        Call::Remove(ids, volumes) => done(project.remove(&ids, volumes).await),
        Call::Wait(id, condition) => match project.wait(&id, condition).await {
            Ok(()) => Ok(Value::Null),
            Err(failure) => Err(format!("{failure} | {:?} | {:?}", failure.probe, failure.log_tail)),
        },
        Call::NextExit(id) => Ok(json!(project.next_exit(&id).await)),
        Call::WaitExit(id) => project.wait_exit(&id).await.map(|exit| json!(exit.code())).map_err(|error| text(&error)),
        Call::Network(spec) => done(project.ensure_network(&spec).await),
        Call::RemoveNetworks(names) => done(project.remove_networks(&names).await),
        Call::Reserve(record) => done(project.reserve_ports(&record, &BTreeSet::new())),
        Call::Exec(id, spec) => {
            let (streams, reader) = Streams::gathered().unwrap();
            match project.exec(&id, *spec, streams).await {
                Ok(mut exec) => {
                    let code = exec.wait().await.unwrap().code();
                    let mut output = [0; 4096];
                    let count = rustix::io::read(&reader, &mut output).unwrap_or(0);
                    Ok(json!([code, String::from_utf8_lossy(&output[..count])]))
                }
                Err(error) => Err(text(&error)),
            }
        }
        Call::State(id) => Ok(json!(project.container(&id).map(|view| view.state))),
        Call::Settle => {
            project.settle().await;
            Ok(Value::Null)
        }
        Call::Nothing => Ok(Value::Null),
    }
}
