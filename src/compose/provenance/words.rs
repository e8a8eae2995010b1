//! The rules of the merge as people say them.

use super::history::{Layer, Reason, Rule, Through};

/// What `layer` does with `below`, the one before it.
pub fn effect(layer: &Layer, below: Option<&Layer>) -> &'static str {
    match layer.rule {
        Rule::Set => "set here",
        Rule::Replaces => below.map_or("set here", |below| replaces(layer, below)),
        Rule::ReplacesList => "replaces the whole list: commands and tests are never joined",
        Rule::Override => "`!override`: replaces all, nothing is merged",
        Rule::Reset => "`!reset`: takes it away",
        Rule::OtherDriver => "replaces all: options belong to one log driver",
        Rule::Appended => "appended to the list",
        Rule::Appends => "its items were appended",
        Rule::Merges => "merged key by key",
        Rule::SameItem(kind) => match kind {
            "port" => "replaces: the same address, ports and protocol",
            "volume" | "device" => "replaces: the same path in the container",
            "file reference" => "replaces: the same target in the container",
            "env_file" => "replaces: the same file",
            "ipam config" => "replaces: the same subnet",
            _ => "replaces: they mean the same thing",
        },
        Rule::Empty => "no value here: what is there stays",
        Rule::FromVariable => "only the name stands here: the value is the variable's",
        Rule::Made(reason) => made(reason),
    }
}

fn replaces(layer: &Layer, below: &Layer) -> &'static str {
    if below.rule == Rule::Reset {
        return "set again after `!reset`";
    }
    if below.value.as_ref().is_some_and(|value| value.is_null()) && below.rule != Rule::Empty {
        return "gives a value to what had none";
    }
    // The innermost way that only the other one came by tells the two apart.
    let way = below.through.iter().find(|way| !layer.through.contains(way));
    match way {
        Some(Through::EnvFile(_)) if came_by_env_file(layer) => "replaces: the later env file wins",
        Some(Through::EnvFile(_)) => "replaces: `environment` wins over `env_file`",
        Some(Through::LabelFile(_)) if came_by_label_file(layer) => "replaces: the later label file wins",
        Some(Through::LabelFile(_)) => "replaces: `labels` wins over `label_file`",
        Some(Through::MergeKey(_)) => "replaces: a mapping's own keys win over `<<`",
        Some(Through::Extends { .. }) => "replaces: a service wins over what it extends",
        Some(Through::Include(_)) => "replaces: a file wins over what it includes",
        Some(Through::Alias(_)) | None if layer.span.source == below.span.source => "replaces: the later one wins",
        Some(Through::Alias(_)) | None => "replaces: the later file wins",
    }
}

fn came_by_env_file(layer: &Layer) -> bool {
    layer.through.iter().any(|way| matches!(way, Through::EnvFile(_)))
}

fn came_by_label_file(layer: &Layer) -> bool {
    layer.through.iter().any(|way| matches!(way, Through::LabelFile(_)))
}

fn made(reason: Reason) -> &'static str {
    match reason {
        Reason::Default => "the default: no file says otherwise",
        Reason::DefaultNetwork => "a service that names no network is on the default one",
        Reason::ExternalName => "what is external goes by its key",
        Reason::FullName => "the project's name and the key",
        Reason::Implied => "follows from what stands here",
        Reason::NameOfFlag => "given with -p",
        Reason::NameOfFolder => "the name of the project's folder",
        Reason::NameOfVariable => "COMPOSE_PROJECT_NAME wins over `name`",
        Reason::ShortForm => "the short form stands for it",
    }
}

/// Whether a made value has a place in a file.
pub fn has_place(rule: Rule) -> bool {
    !matches!(rule, Rule::Made(reason) if !matches!(reason, Reason::Implied | Reason::ShortForm))
}
