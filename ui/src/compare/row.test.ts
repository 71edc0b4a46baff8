import { expect, it } from "vitest";
import { wordsOf } from "./row";

it("marks the words that differ, unless most of them do", () => {
  const found = wordsOf("compiled 12 files well", "compiled 13 files well");
  expect(found?.left.filter((piece) => piece.differs).map((piece) => piece.text)).toEqual(["12"]);
  expect(found?.right.filter((piece) => piece.differs).map((piece) => piece.text)).toEqual(["13"]);
  expect(found?.right.map((piece) => piece.text).join("")).toBe("compiled 13 files well");
  expect(wordsOf("error: no such file.", "linked libdemo.so")).toBeNull();
  expect(wordsOf("x".repeat(2_000), "x")).toBeNull();
});
