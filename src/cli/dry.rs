//! `--dry-run`: each command shows what it would do and does nothing, or says that it cannot show that (see
//! [`super::commands`]).

/// Steps that are not of a project's plan, in the same form.
pub fn tell(steps: impl IntoIterator<Item = String>) {
    let mut nothing = true;
    for step in steps {
        println!("{step}");
        nothing = false;
    }
    if nothing {
        println!("nothing to do");
    }
}
