// Swagger UI, on the service's own description of itself.
window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null, // or it would send the description to somebody else's
});
