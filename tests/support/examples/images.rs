//! Makes the test images when they are missing and serves them until standard input ends.

fn main() -> anyhow::Result<()> {
    let images = support::cache::Images::ready()?;
    let registry = images.serve()?;
    println!("layout {}", images.layout().display());
    println!("registry {}", registry.url());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
