//! Three services, each of which waits until the one before is healthy.

use anyhow::Result;

use crate::table::Table;
use crate::tools::Tools;

pub fn measure(tools: &Tools, table: &mut Table) -> Result<()> {
    let image = tools.image("busybox:1.35");
    let service = |needs: &str| {
        format!(
            "{{ image: '{image}', command: [sh, -c, \"trap 'exit 0' TERM; sleep 1000 & wait\"], \
             healthcheck: {{ test: [CMD, 'true'], interval: 500ms }}{needs} }}"
        )
    };
    let after = |name: &str| format!(", depends_on: {{ {name}: {{ condition: service_healthy }} }}");
    let text =
        format!("services:\n  a: {}\n  b: {}\n  c: {}\n", service(""), service(&after("a")), service(&after("b")));
    tools.project("chain", &text)?;
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..tools.runs {
        for (which, tool) in tools.both().into_iter().enumerate() {
            times[which].push(tool.time("chain", &["up", "-d", "--wait"])?);
            tool.time("chain", &["down"])?;
        }
    }
    let [ours, theirs] = times;
    table.times("up --wait, chain of 3, probes every 0.5 s", ours, Some(theirs));
    Ok(())
}
