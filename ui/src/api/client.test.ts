import { describe, expect, it, vi } from "vitest";
import { ApiError, apiUrl, bytesOf, type Chunk, getJson, logPath, streamJson } from "./client";

function reply(body: string, status = 200): Response {
  return new Response(body, { status });
}

describe("apiUrl", () => {
  it("leaves out what is empty and repeats lists", () => {
    expect(apiUrl("/x", { a: 1, b: "", c: null, d: undefined, e: ["f", "g"], h: false })).toBe(
      "/api/v1/x?a=1&e=f&e=g&h=false",
    );
  });
  it("escapes names", () => {
    expect(logPath({ namespace: "a+b", run: "c=d", task: "@run", attempt: 2 })).toBe(
      "/namespaces/a%2Bb/runs/c%3Dd/tasks/%40run/attempts/2",
    );
  });
});

describe("errors", () => {
  it("are what the leader says", async () => {
    vi.spyOn(globalThis, "fetch").mockResolvedValue(reply('{"error":{"code":"NOT_FOUND","message":"no run x"}}', 404));
    await expect(getJson("/x")).rejects.toMatchObject({ status: 404, code: "NOT_FOUND", message: "no run x" });
  });
  it("tell that nobody answered", async () => {
    vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("failed"));
    const error = await getJson("/x").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).offline).toBe(true);
  });
});

describe("streamJson", () => {
  it("gives each line, wherever the reply is cut", async () => {
    const text = '{"a":1}\n{"a":"ä"}\n\n{"a":3}';
    const bytes = new TextEncoder().encode(text);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response(body));
    const found: unknown[] = [];
    for await (const one of streamJson<{ a: unknown }>("/x", {}, new AbortController().signal)) found.push(one.a);
    expect(found).toEqual([1, "ä", 3]);
  });
});

it("bytesOf decodes base64", () => {
  expect([...bytesOf({ data_base64: "AP8K" } as Chunk)]).toEqual([0, 255, 10]);
});

describe("an answer that is cut off", () => {
  it("is as none: it is asked for again", async () => {
    vi.spyOn(globalThis, "fetch").mockResolvedValue(reply('{"a": '));
    const error = await getJson("/x").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).passing).toBe(true);
  });
});
