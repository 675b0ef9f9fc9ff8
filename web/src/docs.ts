// The service's interface, by Swagger, from files of its own: it works without a network.
import SwaggerUI from "swagger-ui-dist/swagger-ui-bundle.js";
import "swagger-ui-dist/swagger-ui.css";

SwaggerUI({ url: "/openapi.json", dom_id: "#swagger", validatorUrl: null, deepLinking: true });
