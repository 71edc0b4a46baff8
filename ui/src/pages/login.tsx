import { Alert, Anchor, Button, Card, Center, Divider, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import { useLocation, useNavigate, useSearchParams } from "react-router";
import { ApiError, basePath, getJson, type Schemas, sendJson } from "../api/client";
import { useFailure } from "../api/queries";
import { Failure } from "../parts/states";
import { useSession } from "../session";

type Ways = Schemas["SignInWays"];

const problems: Record<string, string> = {
  denied: "Your account may not use this leader: ask an administrator for a role.",
  refused: "You were not signed in there: its page was left, or it refused you. Try again.",
  failed: "Signing in did not work. Try again; the leader's log says why.",
  expired: "Signing in took too long. Try again.",
  unavailable: "The place where you sign in can't be reached right now.",
  wait: "There were too many attempts. Wait a minute, then try again.",
};

/** Only a path of this UI: nobody is to be sent elsewhere by a link to the login page. */
function safeTarget(to: string | null): string {
  return to !== null && /^\/(?![/\\])/.test(to) ? to : "/runs";
}

export default function Login(): ReactNode {
  useDocumentTitle("Sign in · joblog");
  const session = useSession();
  const navigate = useNavigate();
  const location = useLocation();
  const [query] = useSearchParams();
  const target = safeTarget(query.get("to"));
  const [token, setToken] = useState("");
  const [error, setError] = useState<string | null>(problems[query.get("problem") ?? ""] ?? null);
  const [busy, setBusy] = useState(false);
  const used = useRef(false);
  const ways = useQuery({
    queryKey: ["ways of signing in"],
    queryFn: ({ signal }) => getJson<Ways>("/session", {}, signal),
    staleTime: 60_000,
  });
  const gone = useFailure(ways);

  const { enter, left } = session;
  const signIn = useCallback(
    async (body: { token: string } | { code: string }): Promise<void> => {
      setBusy(true);
      setError(null);
      try {
        await sendJson("POST", "/session", body);
        enter();
        navigate(target, { replace: true });
      } catch (caught) {
        const problem = caught instanceof ApiError ? caught : null;
        setError(
          problem?.status === 401
            ? "The leader does not know this token, or it has expired."
            : String(problem?.message ?? caught),
        );
      } finally {
        setBusy(false);
      }
    },
    [navigate, enter, target],
  );

  // A link that the command line gave: the code is good once.
  useEffect(() => {
    const code = /^#code=([\w.-]+)$/.exec(location.hash)?.[1];
    if (code === undefined || used.current) return;
    used.current = true;
    window.history.replaceState(null, "", window.location.pathname + window.location.search);
    void signIn({ code });
  }, [location.hash, signIn]);

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (token.trim() !== "") void signIn({ token: token.trim() });
  };
  return (
    <Center mih="100dvh" p="md">
      <Card withBorder padding="xl" w={400} maw="100%" component="main">
        <Stack>
          <Title order={1} size="h3">
            joblog
          </Title>
          {error !== null ? (
            <Alert color="red" role="alert">
              {error}
            </Alert>
          ) : null}
          {gone ? <Failure error={gone} m={0} /> : null}
          {left && ways.data?.oidc ? (
            <Alert color="blue" role="status">
              This leader knows you no more; {ways.data.oidc.name} may still. Where others use this browser,{" "}
              <Anchor href={left} inherit>
                sign out there
              </Anchor>
              , too.
            </Alert>
          ) : null}
          {ways.data?.oidc ? (
            <>
              <Button component="a" href={`${basePath}${ways.data.oidc.start}?to=${encodeURIComponent(target)}`}>
                Sign in with {ways.data.oidc.name}
              </Button>
              <Divider label="or" />
            </>
          ) : null}
          <form onSubmit={submit}>
            <Stack gap="sm">
              <PasswordInput
                label="Token"
                description="As an administrator gave it to you. On the leader's own machine, `joblog ui` signs you in."
                autoComplete="off"
                value={token}
                onChange={(event) => setToken(event.currentTarget.value)}
              />
              <Button
                type="submit"
                variant={ways.data?.oidc ? "default" : "filled"}
                loading={busy}
                disabled={token.trim() === ""}
              >
                Sign in
              </Button>
            </Stack>
          </form>
          <Text size="xs" c="dimmed">
            Tokens are checked by this leader alone, and never stored in the browser.
          </Text>
        </Stack>
      </Card>
    </Center>
  );
}
