//! Places of a tree visited one after the other, each reached from the one before: what lies deep costs only what is
//! new about its path, in whatever depth.

use std::collections::VecDeque;

/// What is known of the last places on the way is kept, and with it descriptors: few enough for any limit.
const KEPT: usize = 16;

/// A way down a tree, and what `T` is known of its last places.
#[derive(Debug)]
pub struct Walk<T> {
    root: T,
    path: Vec<Vec<u8>>,
    last: VecDeque<T>,
}

impl<T> Walk<T> {
    pub fn new(root: T) -> Self {
        Self { root, path: Vec::new(), last: VecDeque::with_capacity(KEPT + 1) }
    }

    /// Goes to `path`, up as far as needed and then down with `step`.
    ///
    /// # Errors
    /// Those of `step`; the walk is then where it got to.
    pub fn to<E>(&mut self, path: &[&[u8]], mut step: impl FnMut(&T, &[u8]) -> Result<T, E>) -> Result<&T, E> {
        let common = self.path.iter().zip(path).take_while(|(here, there)| here == *there).count();
        let forgotten = self.path.len() - self.last.len();
        let back = if common > forgotten || forgotten == 0 { common } else { 0 };
        self.path.truncate(back);
        self.last.truncate(back.saturating_sub(forgotten));
        for part in &path[back..] {
            let next = step(self.last.back().unwrap_or(&self.root), part)?;
            self.path.push(part.to_vec());
            self.last.push_back(next);
            if self.last.len() > KEPT {
                self.last.pop_front();
            }
        }
        Ok(self.last.back().unwrap_or(&self.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Visits the paths; how many steps that took.
    fn steps(paths: &[String]) -> usize {
        let mut steps = 0;
        let mut walk = Walk::new(String::new());
        for path in paths {
            let parts: Vec<&[u8]> = path.split('/').filter(|part| !part.is_empty()).map(str::as_bytes).collect();
            let found = walk.to(&parts, |above, part| {
                steps += 1;
                Ok::<_, ()>(format!("{above}/{}", std::str::from_utf8(part).unwrap()))
            });
            assert_eq!(found.unwrap().trim_start_matches('/'), path);
        }
        steps
    }

    #[test]
    fn every_place_is_reached_with_few_steps() {
        let chain = |depth: usize| (1..=depth).map(|depth| vec!["a"; depth].join("/")).collect::<Vec<_>>();
        assert_eq!(steps(&chain(2_000)), 2_000);
        let upwards: Vec<String> = chain(2_000).into_iter().rev().collect();
        // From the root again whenever what was kept is used up.
        assert!(steps(&upwards) < 2_000 * 2_000 / KEPT, "{}", steps(&upwards));
        let wide: Vec<String> = (0..1_000).map(|index| format!("a/b/c{index}/d")).collect();
        assert_eq!(steps(&wide), 2 + 2 * 1_000);
        let mixed = ["a/b", "a", "", "b/c/d", "a/b", "b"].map(str::to_owned);
        assert_eq!(steps(&mixed), 2 + 3 + 2 + 1);
    }
}
