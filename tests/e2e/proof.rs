//! The main job on real software: nginx in front of a Python and a Node service, PostgreSQL, Redis, and a migration.

use std::path::Path;

use crate::env::TestEnv;
use crate::net::{free_port, get};

#[test]
fn a_real_stack_serves_keeps_its_rows_and_leaves_nothing() {
    let mut env = TestEnv::new("shop");
    env.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shop"));
    let port = free_port();
    env.set("SHOP_PORT", &port.to_string());

    env.ok(&["up", "--wait"]);
    for service in ["proxy", "python", "node", "db", "cache"] {
        assert_eq!(env.ps_field(service, "State"), "running", "{service}");
    }
    assert_eq!(env.ps_field("migrate", "State"), "exited");
    assert_eq!(env.ps_field("migrate", "ExitCode"), "0");

    // Each service writes to both stores, and reads what the other one wrote.
    assert_eq!(get(port, "/python/add?name=from-python").trim(), r#"{"rows": ["from-python"], "hits": 1}"#);
    assert_eq!(get(port, "/node/add?name=from-node").trim(), r#"{"rows": ["from-python", "from-node"], "hits": 2}"#);
    assert_eq!(get(port, "/python/").trim(), r#"{"rows": ["from-python", "from-node"], "hits": 2}"#);

    // The password came from a file in the container, not from its environment.
    assert_eq!(env.sh("db", "cat /run/secrets/db_password"), "correct horse");
    assert_eq!(env.sh("db", "env | grep -c '^POSTGRES_PASSWORD=' || true"), "0");

    env.ok(&["down"]);
    env.ok(&["up", "--wait"]);
    assert_eq!(get(port, "/node/").trim(), r#"{"rows": ["from-python", "from-node"], "hits": 0}"#);

    env.ok(&["down", "-v"]);
    env.assert_nothing_left();
    env.ok(&["up", "--wait"]);
    assert_eq!(get(port, "/python/").trim(), r#"{"rows": [], "hits": 0}"#);
    env.ok(&["down", "-v"]);
    env.assert_nothing_left();
}
