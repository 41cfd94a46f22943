"""How fast the machine is just now: bounds in milliseconds are those of the machine of the docs."""

WORK = """() => {
  const took = [];
  for (let turn = 0; turn < 7; turn += 1) {
    const began = performance.now();
    let seed = 1;
    const next = () => { seed = (seed * 16807) % 2147483647; return seed; };
    Float64Array.from({ length: 100000 }, next).sort();
    took.push(performance.now() - began);
  }
  return Math.min(...took);
}"""
USUAL = 16.0  # milliseconds for it, on two cores with nothing else to do


def pace(page) -> float:
    """Return how many times longer than usual a browser takes to sort numbers, at least 1."""
    return max(1.0, page.evaluate(WORK) / USUAL)
