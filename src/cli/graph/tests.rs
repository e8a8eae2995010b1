use std::collections::BTreeMap;

use super::{Graph, dot, mermaid, svg, text};
use crate::cli::ui::style::Palette;
use crate::compose::{self, FsSource, LoadRequest};

const FILE: &str = r#"
name: shop
services:
  proxy:
    image: nginx:1.27
    ports: ["127.0.0.1:8080:80"]
    depends_on: { api: { condition: service_healthy }, hints: { condition: service_started, required: false } }
    volumes: ["./conf:/etc/nginx:ro"]
  api:
    image: "python:3.13"
    scale: 2
    healthcheck: { test: ["CMD", "true"] }
    depends_on: [db]
    networks: [default, back]
  db: { image: "postgres:17", volumes: ["rows:/var/lib/postgresql/data"], networks: [back] }
  hints: { x-windlass: { rootfs: host }, network_mode: none, command: "true" }
volumes: { rows: }
networks: { back: }
"#;

fn graph(live: bool) -> Graph {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), FILE).unwrap();
    let request = LoadRequest { current_dir: folder.path().into(), ..LoadRequest::default() };
    let loaded = compose::load(request, &FsSource).map_err(|failure| format!("{failure:?}")).unwrap();
    let states = BTreeMap::from([("api".to_owned(), "unhealthy".to_owned()), ("db".to_owned(), "running".to_owned())]);
    Graph::of(&loaded.project, live.then_some(&states))
}

#[test]
fn as_text() {
    insta::assert_snapshot!("text", text(&graph(false), Palette::plain()));
    let live = text(&graph(true), Palette::plain());
    assert!(live.contains("api    python:3.13 ×2  unhealthy") && live.contains("nginx:1.27  not created"), "{live}");
}

#[test]
fn needs_come_first() {
    let order: Vec<String> = graph(false).services.into_iter().map(|service| service.name).collect();
    assert_eq!(order, ["db", "hints", "api", "proxy"]);
}

#[test]
fn as_mermaid_and_dot() {
    insta::assert_snapshot!("mermaid", mermaid(&graph(false)));
    insta::assert_snapshot!("dot", dot(&graph(true)));
}

#[test]
fn the_picture_has_every_box_inside_and_escapes_names() {
    let mut graph = graph(true);
    graph.services[0].image = "<script>".into();
    let picture = svg(&graph);
    assert!(picture.contains("&lt;script&gt;") && !picture.contains("<script>"));
    let number = |text: &str, key: &str| -> usize {
        let after = text.split_once(&format!("{key}=\"")).unwrap().1;
        after.split_once('"').unwrap().0.parse().unwrap()
    };
    let (wide, high) = (number(&picture, "width"), number(&picture, "height"));
    let boxes: Vec<&str> = picture.lines().filter(|line| line.starts_with("<rect x=")).collect();
    assert_eq!(boxes.len(), 5, "{picture}");
    for line in boxes {
        assert!(
            number(line, "x") + number(line, " width") <= wide && number(line, "y") + number(line, " height") <= high
        );
    }
}
