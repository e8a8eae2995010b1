use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use serde_json::json;

use super::*;
use crate::image::testing::{self, Item, Packing, TestImage};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("images")).unwrap();
    (folder, store)
}

fn sample(packing: Packing) -> TestImage {
    testing::image(
        &[
            vec![
                Item::dir("./"),
                Item::dir("etc/"),
                Item::file("etc/motd", "hello").mode(0o600).owner(3, 4),
                Item::dir("gone/"),
                Item::file("gone/x", "x"),
            ],
            vec![Item::dir("etc/"), Item::file("etc/.wh.motd", ""), Item::file(".wh.gone", "")],
        ],
        packing,
    )
}

fn load_all(store: &Store, input: Input<'_>) -> Result<Vec<Loaded>, ImageError> {
    load(store, input, &LoadOptions::default(), &|_| {})
}

#[test]
fn an_oci_layout_is_loaded_from_a_folder_and_found_by_name() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let (folder, store) = store();
        let layout = folder.path().join("layout");
        let image = sample(packing);
        image.write_layout(&layout, Some("example.com/app:1"));
        let loaded = load_all(&store, Input::Path(layout)).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].image, image.config);
        let reference: Reference = "example.com/app:1".parse().unwrap();
        let found = store.find(&reference).unwrap().unwrap();
        assert_eq!((found.id, found.manifest), (image.config, image.manifest));
        assert_eq!(found.config.env, ["PATH=/bin"]);
        assert_eq!(found.references, std::slice::from_ref(&reference));
        assert_eq!(found.digests, [reference.at(image.manifest)]);
        assert_eq!(store.find(&reference.at(image.manifest)).unwrap().unwrap().id, found.id);
        assert_eq!(found.layers.len(), 2);
        let (top, bottom) = (&found.layers[0], &found.layers[1]);
        assert_eq!(fs::read_to_string(bottom.join("etc/motd")).unwrap(), "hello");
        let meta = fs::symlink_metadata(bottom.join("etc/motd")).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (3, 4, 0o600));
        for deleted in ["etc/motd", "gone"] {
            let meta = fs::symlink_metadata(top.join(deleted)).unwrap();
            assert!(meta.file_type().is_char_device() && meta.rdev() == 0, "{deleted}");
        }
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0, "something was left behind");
    }
}

#[test]
fn docker_archives_old_and_compressed() {
    let image = sample(Packing::Plain);
    let manifest = json!([{
        "Config": "config.json", "RepoTags": ["app:1", "app:2"],
        "Layers": ["a/layer.tar", "b/layer.tar"],
    }]);
    let items = [
        Item::file("a/layer.tar", &image.blobs[&image.layers[0]]),
        Item::symlink("b/layer.tar", "../c/layer.tar"),
        Item::file("c/layer.tar", &image.blobs[&image.layers[1]]),
        Item::file("config.json", &image.blobs[&image.config]),
        Item::file("manifest.json", manifest.to_string()),
    ];
    let archive = testing::archive(&items);
    for bytes in [archive.clone(), testing::gzip(&archive)] {
        let (_folder, store) = store();
        let loaded = load_all(&store, Input::Stream(Box::new(&bytes[..]))).unwrap();
        assert_eq!(loaded[0].references.len(), 2);
        let found = store.find(&"app:2".parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.id, image.config);
        assert_eq!(fs::read_to_string(found.layers[1].join("etc/motd")).unwrap(), "hello");
    }
}

#[test]
fn a_layer_that_is_not_what_was_promised_is_refused_and_leaves_nothing() {
    let (folder, store) = store();
    let mut image = sample(Packing::Gzip);
    let other = testing::gzip(&testing::archive(&[Item::file("evil", "x")]));
    image.blobs.insert(image.layers[1], other);
    let layout = folder.path().join("layout");
    image.write_layout(&layout, Some("app:1"));
    let error = load_all(&store, Input::Path(layout)).unwrap_err();
    assert!(matches!(error, ImageError::Layer(..)), "{error:?}");
    assert!(store.find(&"app:1".parse().unwrap()).unwrap().is_none());
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert_eq!(store.images().unwrap(), []);
}

#[test]
fn a_wrong_diff_id_is_refused() {
    let (folder, store) = store();
    let first = testing::archive(&[Item::file("a", "1")]);
    let mut image = testing::image_of(&[first], Packing::Gzip, json!({}));
    let config = String::from_utf8(image.blobs[&image.config].clone()).unwrap();
    let diff_id = Digest::of(&testing::archive(&[Item::file("a", "1")])).to_string();
    let config = config.replace(&diff_id, &Digest::of(b"else").to_string()).into_bytes();
    let digest = Digest::of(&config);
    let manifest = String::from_utf8(image.blobs[&image.manifest].clone()).unwrap();
    let manifest = manifest.replace(&image.config.to_string(), &digest.to_string()).into_bytes();
    image.blobs.insert(digest, config);
    image.manifest = Digest::of(&manifest);
    image.blobs.insert(image.manifest, manifest);
    let layout = folder.path().join("layout");
    image.write_layout(&layout, Some("app:1"));
    let error = load_all(&store, Input::Path(layout)).unwrap_err();
    let ImageError::Layer(_, source) = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("not what the configuration promises"), "{source}");
}

#[test]
fn what_is_no_image_is_said_so() {
    let (folder, store) = store();
    let path = folder.path().join("x");
    fs::write(&path, "this is text, and long enough to be a block of an archive").unwrap();
    assert!(matches!(load_all(&store, Input::Path(path)), Err(ImageError::NotAnImage(_))));
    let empty = testing::archive(&[Item::file("a", "")]);
    assert!(matches!(load_all(&store, Input::Stream(Box::new(&empty[..]))), Err(ImageError::NotAnImage(_))));
}

#[test]
fn two_loads_of_the_same_image_at_once() {
    let (folder, store) = store();
    let layout = folder.path().join("layout");
    sample(Packing::Gzip).write_layout(&layout, Some("app:1"));
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| load_all(&store, Input::Path(layout.clone())).unwrap())).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert_eq!(fs::read_dir(store.root().join("layers")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

/// An archive as `docker save` writes it, of these layers, with more in its configuration.
fn docker_archive(layers: &[Vec<u8>], config: &serde_json::Value) -> Vec<u8> {
    let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}.tar")).collect();
    let mut items: Vec<Item> = names.iter().zip(layers).map(|(name, layer)| Item::file(name, layer)).collect();
    items.push(Item::file("config.json", config.to_string()));
    let manifest = json!([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": names}]);
    items.push(Item::file("manifest.json", manifest.to_string()));
    testing::archive(&items)
}

fn stream(bytes: &[u8]) -> Input<'_> {
    Input::Stream(Box::new(bytes))
}

#[test]
fn an_image_without_layers_is_an_empty_folder() {
    for config in [
        json!({"rootfs": {"type": "layers", "diff_ids": []}}),
        json!({"rootfs": {"diff_ids": null}, "config": null, "history": null, "architecture": null, "os": ""}),
        json!({"rootfs": {}, "config": {}}),
    ] {
        let (_folder, store) = store();
        let loaded = load_all(&store, stream(&docker_archive(&[], &config))).unwrap();
        let image = store.image(&loaded[0].image).unwrap().unwrap();
        assert!(image.is_whole() && image.diff_ids.is_empty() && image.config.env.is_empty(), "{image:?}");
        assert_eq!(image.layers.len(), 1);
        let meta = fs::metadata(&image.layers[0]).unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, fs::read_dir(&image.layers[0]).unwrap().count()), (0o755, 0));
        store.prune(&crate::image::Uses::default(), false, &|_| true).unwrap();
        assert!(
            store.image(&image.id).unwrap().unwrap().is_whole(),
            "pruning took the folder of images without layers"
        );
    }
}

#[test]
fn more_layers_than_can_be_stacked_are_refused_before_any_is_read() {
    let layer = testing::archive(&[]);
    let config = json!({"rootfs": {"diff_ids": vec![Digest::of(&layer); 501]}});
    let (_folder, store) = store();
    let error = load_all(&store, stream(&docker_archive(&vec![layer; 501], &config))).unwrap_err();
    assert!(matches!(error, ImageError::Manifest(ManifestError::TooManyLayers(501))), "{error:?}");
}

#[test]
fn sizes_that_no_machine_has_are_no_more_than_wrong() {
    let (folder, store) = store();
    let layout = folder.path().join("layout");
    let mut image = sample(Packing::Gzip);
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.blobs[&image.manifest]).unwrap();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer["size"] = json!(i64::MAX);
    }
    let layers = manifest["layers"].as_array_mut().unwrap();
    layers.push(layers[0].clone());
    let bytes = manifest.to_string().into_bytes();
    image.manifest = Digest::of(&bytes);
    image.blobs.insert(image.manifest, bytes);
    image.write_layout(&layout, Some("example.com/app:1"));
    let error = load_all(&store, Input::Path(layout)).unwrap_err();
    assert!(matches!(error, ImageError::LayerCount { layers: 3, diff_ids: 2 }), "{error:?}");
}

#[test]
fn a_stream_that_unpacks_to_far_more_than_it_is_is_given_up() {
    let archive = testing::archive(&[Item::file("zeros", vec![0; 4 << 20])]);
    let packed = zstd::encode_all(&archive[..], 1).unwrap();
    let attempt = |limits: Limits| {
        let (_folder, store) = store();
        let options = LoadOptions { limits, ..LoadOptions::default() };
        load(&store, stream(&packed), &options, &|_| {}).unwrap_err().to_string()
    };
    let limits = Limits::default();
    assert!(attempt(limits).contains("neither index.json"));
    assert!(attempt(Limits { ratio_from: 1 << 20, ..limits }).contains("more than 2000 times its size"));
    assert!(attempt(Limits { bytes: 1 << 20, ..limits }).contains("more than 1048576 bytes"));
}

#[test]
fn ids_and_digests_name_an_image_by_their_beginning() {
    let (folder, store) = store();
    let layout = folder.path().join("layout");
    let image = sample(Packing::Gzip);
    image.write_layout(&layout, Some("example.com/app:1"));
    load_all(&store, Input::Path(layout)).unwrap();
    let named = |text: &str| store.resolve(text).map(|image| image.map(|image| image.id));
    let (id, manifest) = (image.config.hex(), image.manifest.hex());
    for text in [
        id.clone(),
        format!("sha256:{id}"),
        id[..12].to_owned(),
        format!("sha256:{}", &id[..7]),
        manifest[..12].to_owned(),
        format!("sha256:{manifest}"),
        format!("example.com/app@sha256:{manifest}"),
        format!("example.com/app:other@sha256:{manifest}"),
    ] {
        assert_eq!(named(&text).unwrap(), Some(image.config), "{text}");
    }
    assert_eq!(named(&format!("sha256:{}", Digest::of(b"other").hex())).unwrap(), None);
    assert_eq!(named(&format!("example.com/app@{}", Digest::of(b"other"))).unwrap(), None);
    assert_eq!(named("ffff").unwrap(), None);
    assert!(named("sha256:xyz").is_err());

    // Sixteen more, so that two begin alike.
    for number in 0..16 {
        let config = json!({"rootfs": {}, "author": number.to_string()});
        load_all(&store, stream(&docker_archive(&[], &config))).unwrap();
    }
    let alike = "0123456789abcdef"
        .chars()
        .find(|digit| store.image_ids().unwrap().iter().filter(|id| id.hex().starts_with(*digit)).count() > 1);
    let error = named(&alike.unwrap().to_string()).unwrap_err();
    let ImageError::AmbiguousId { images, .. } = &error else { panic!("{error:?}") };
    assert!(images.len() > 1 && images.iter().all(|image| image.starts_with(alike.unwrap())), "{error}");
}
