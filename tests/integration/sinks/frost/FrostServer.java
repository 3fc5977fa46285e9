import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import de.fraunhofer.iosb.ilt.frostserver.messagebus.MessageBusFactory;
import de.fraunhofer.iosb.ilt.frostserver.path.UrlHelper;
import de.fraunhofer.iosb.ilt.frostserver.path.Version;
import de.fraunhofer.iosb.ilt.frostserver.persistence.PersistenceManagerFactory;
import de.fraunhofer.iosb.ilt.frostserver.service.PluginService;
import de.fraunhofer.iosb.ilt.frostserver.service.Service;
import de.fraunhofer.iosb.ilt.frostserver.service.ServiceRequest;
import de.fraunhofer.iosb.ilt.frostserver.service.ServiceRequestBuilder;
import de.fraunhofer.iosb.ilt.frostserver.service.ServiceResponseDefault;
import de.fraunhofer.iosb.ilt.frostserver.settings.CoreSettings;
import de.fraunhofer.iosb.ilt.frostserver.util.HttpMethod;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.concurrent.Executors;

/**
 * FROST-Server's service, persistence and plugins over the JDK's HTTP server, for tests.
 *
 * Arguments: port of 127.0.0.1, JDBC URL, user. The web application that FROST-Server itself is
 * served by is a module of its own; this stands in its place and hands requests on unchanged.
 */
public final class FrostServer {

    private final CoreSettings settings;

    private FrostServer(CoreSettings settings) {
        this.settings = settings;
    }

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(arguments[0]);
        Properties properties = new Properties();
        properties.setProperty("serviceRootUrl", "http://127.0.0.1:" + port);
        properties.setProperty("tempPath", System.getProperty("java.io.tmpdir"));
        properties.setProperty("plugins.multiDatastream.enable", "false");
        properties.setProperty("persistence.persistenceManagerImplementationClass",
                "de.fraunhofer.iosb.ilt.frostserver.persistence.pgjooq.PostgresPersistenceManager");
        properties.setProperty("persistence.autoUpdateDatabase", "true");
        properties.setProperty("persistence.db.driver", "org.postgresql.Driver");
        properties.setProperty("persistence.db.url", arguments[1]);
        properties.setProperty("persistence.db.username", arguments[2]);
        properties.setProperty("persistence.db.password", "");
        CoreSettings settings = new CoreSettings(properties);
        PersistenceManagerFactory.init(settings).maybeUpdateDatabase();
        MessageBusFactory.createMessageBus(settings);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 64);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", new FrostServer(settings)::handle);
        server.start();
    }

    private void handle(HttpExchange exchange) throws IOException {
        ServiceResponseDefault answer = new ServiceResponseDefault();
        try {
            execute(exchange, answer);
        } catch (IllegalArgumentException refusal) {
            answer.setStatus(400, refusal.getMessage());
        } catch (RuntimeException failure) {
            failure.printStackTrace();
            answer.setStatus(500, failure.getMessage());
        }
        String text = answer.getWriter().toString();
        if (!answer.isSuccessful() && text.isEmpty() && answer.getMessage() != null) {
            text = answer.getMessage();
        }
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        answer.getHeaders().forEach(exchange.getResponseHeaders()::set);
        exchange.getResponseHeaders().set("Content-Type", "application/json;charset=UTF-8");
        exchange.sendResponseHeaders(answer.getCode(), body.length == 0 ? -1 : body.length);
        if (body.length > 0) {
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }

    private void execute(HttpExchange exchange, ServiceResponseDefault answer) {
        String whole = exchange.getRequestURI().getPath();
        int slash = whole.indexOf('/', 1);
        String path = slash < 0 ? "" : whole.substring(slash);
        String name = slash < 0 ? whole.substring(1) : whole.substring(1, slash);
        Version version = settings.getPluginManager().getVersion(name);
        PluginService plugin =
                version == null ? null : settings.getPluginManager().getServiceForPath(version, path);
        if (plugin == null) {
            answer.setStatus(404, "Not Found");
            return;
        }
        String contentType = exchange.getRequestHeaders().getFirst("Content-Type");
        HttpMethod method = HttpMethod.fromString(exchange.getRequestMethod());
        String type = plugin.getRequestTypeFor(version, path, method, contentType);
        if (type == null) {
            throw new IllegalArgumentException("Unhandled request: " + method + " " + path);
        }
        String query = exchange.getRequestURI().getRawQuery();
        ServiceRequest request = new ServiceRequestBuilder(settings, version)
                .withRequestType(type)
                .withUrlPath(path)
                .withUrlQuery(query == null ? null : URLDecoder.decode(query, StandardCharsets.UTF_8))
                .withContent(exchange.getRequestBody())
                .withContentType(contentType)
                .withParameterMap(UrlHelper.splitQuery(query))
                .build();
        try (Service service = new Service(settings)) {
            ServiceRequest.LOCAL_REQUEST.set(request);
            plugin.execute(service, request, answer);
        } finally {
            ServiceRequest.LOCAL_REQUEST.remove();
        }
    }
}
