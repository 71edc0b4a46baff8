import { describe, expect, it } from "vitest";
import { runsOf } from "./backups";

describe("runsOf", () => {
  it("takes a run a line", () => {
    const { runs, wrong } = runsOf(" default/nightly \n\nci/r-1\n");
    expect(runs).toEqual([
      { namespace: "default", run: "nightly" },
      { namespace: "ci", run: "r-1" },
    ]);
    expect(wrong).toBe("");
  });

  it("says which line is none", () => {
    expect(runsOf("default/a\nnightly").wrong).toBe("nightly");
    expect(runsOf("a/b/c").wrong).toBe("a/b/c");
    expect(runsOf("/b").wrong).toBe("/b");
  });
});
