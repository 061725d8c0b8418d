// Passkeys: <form data-passkey="login|get|create"> asks the browser for a credential before it is
// sent. What to ask for is in #passkey-options; for "login", the form's own address tells.
"use strict";

(() => {
  const toBytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const withBytes = (listed) => (listed ?? []).map((each) => ({ ...each, id: toBytes(each.id) }));

  const ask = async (form, options) => {
    if (form.dataset.passkey === "create") {
      const wanted = options.creation_options.publicKey;
      const alone = form.elements.passwordless.checked;
      const selection = { ...wanted.authenticatorSelection, requireResidentKey: alone, residentKey: alone ? "required" : "discouraged" };
      if (alone) selection.userVerification = "required";
      return navigator.credentials.create({
        publicKey: {
          ...wanted,
          authenticatorSelection: selection,
          challenge: toBytes(wanted.challenge),
          user: { ...wanted.user, id: toBytes(wanted.user.id) },
          excludeCredentials: withBytes(wanted.excludeCredentials),
        },
      });
    }
    const wanted = options.request_options.publicKey;
    return navigator.credentials.get({
      publicKey: { ...wanted, challenge: toBytes(wanted.challenge), allowCredentials: withBytes(wanted.allowCredentials) },
    });
  };

  const asJson = (given) => {
    const answer = { id: given.id, rawId: toText(given.rawId), type: given.type, response: {} };
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
      if (given.response[name]) answer.response[name] = toText(given.response[name]);
    if (given.response.getTransports) answer.response.transports = given.response.getTransports();
    answer.clientExtensionResults = given.getClientExtensionResults();
    answer.authenticatorAttachment = given.authenticatorAttachment;
    return JSON.stringify(answer);
  };

  const isNumber = /^[\d.]+$|^\[/.test(location.hostname);
  const reason = (error, texts) => {
    if (!window.PublicKeyCredential) return texts.unsupported;
    if (isNumber) return texts.noName.replace("{url}", `${location.protocol}//localhost:${location.port}`);
    if (error.name === "InvalidStateError") return texts.known;
    if (error.name === "NotAllowedError") return texts.none;
    return texts.failed;
  };

  const optionsFor = async (form) => {
    if (form.dataset.passkey !== "login") return JSON.parse(document.getElementById("passkey-options").textContent);
    const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer.json();
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const alert = form.querySelector("[data-passkey-error]");
      alert.hidden = true;
      try {
        form.elements.credential.value = asJson(await ask(form, await optionsFor(form)));
        form.submit(); // asks no handlers again
      } catch (error) {
        alert.querySelector("div").textContent = reason(error, alert.dataset);
        alert.hidden = false;
      }
    });
  }
})();
