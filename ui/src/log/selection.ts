// Selected lines as part of an address: #L12 or #L12-20. A line's number means the same for ever.

export interface Selection {
  first: number;
  last: number;
}

export function selectionOf(hash: string): Selection | null {
  const match = /^#L(\d{1,15})(?:-L?(\d{1,15}))?$/.exec(hash);
  if (match === null) return null;
  const one = Number(match[1]);
  const other = match[2] === undefined ? one : Number(match[2]);
  if (one < 1 || other < 1) return null;
  return { first: Math.min(one, other), last: Math.max(one, other) };
}

export function hashOf({ first, last }: Selection): string {
  return first === last ? `#L${first}` : `#L${first}-${last}`;
}
